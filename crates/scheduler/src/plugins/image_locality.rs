//! Prefers nodes that already hold the pod's images, weighed by size.

use k8s_openapi::api::core::v1::Node;

use crate::framework::{Cycle, MAX_SCORE, Plugin};

const MIB: i64 = 1024 * 1024;
/// Below this sum of image sizes the score is 0.
const MIN_THRESHOLD: i64 = 23 * MIB;
/// Above this sum for each container the score is full.
const MAX_CONTAINER_THRESHOLD: i64 = 1000 * MIB;

/// The plugin. Unlike upstream it does not scale by how many nodes have the image: that would make each score
/// depend on all nodes.
pub struct ImageLocality;

impl Plugin for ImageLocality {
    fn name(&self) -> &'static str {
        "ImageLocality"
    }

    fn weight(&self) -> i64 {
        1
    }

    fn score(&self, cycle: &Cycle<'_>, slot: usize) -> i64 {
        let Some(node) = &cycle.cache.table.nodes[slot] else {
            return 0;
        };
        let Some(spec) = &cycle.pod.pod.spec else {
            return 0;
        };
        let containers = spec
            .containers
            .iter()
            .chain(spec.init_containers.iter().flatten());
        let images: Vec<&str> = containers
            .filter_map(|container| container.image.as_deref())
            .collect();
        let sum: i64 = images.iter().map(|image| size_on(node, image)).sum();
        let max = MAX_CONTAINER_THRESHOLD * images.len() as i64;
        let sum = sum.clamp(MIN_THRESHOLD, max.max(MIN_THRESHOLD));
        if max <= MIN_THRESHOLD {
            return 0;
        }
        MAX_SCORE * (sum - MIN_THRESHOLD) / (max - MIN_THRESHOLD)
    }
}

fn size_on(node: &Node, image: &str) -> i64 {
    let tag = image.rsplit('/').next().unwrap_or(image);
    let tagged = tag.contains(':') || image.contains('@');
    let latest = format!("{image}:latest");
    let wanted = if tagged { image } else { &latest };
    let images = node
        .status
        .as_ref()
        .and_then(|status| status.images.as_ref());
    images
        .into_iter()
        .flatten()
        .find(|held| held.names.iter().flatten().any(|name| name == wanted))
        .and_then(|held| held.size_bytes)
        .unwrap_or(0)
}
