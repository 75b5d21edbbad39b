//! Conversion of custom objects from one version to another: none but the name of the version, or a webhook's work
//! (`ConversionReview`).

use std::time::Duration;

use kontiki_api::Kind;
use kontiki_api::meta::metadata_mut;
use kontiki_base::status::Status;
use serde_json::{Value, json};

use crate::outbound::Peer;
use crate::server::ApiServer;
use crate::write::new_uid;

/// Longest that a conversion may take; upstream's.
const TIMEOUT: Duration = Duration::from_secs(30);

impl ApiServer {
    /// The objects in another version, where a webhook has to make it. Otherwise as they are: then `Kind::from_stored`
    /// and `Kind::to_storage` do all.
    pub(crate) async fn converted(
        &self,
        kind: &Kind,
        objects: Vec<Value>,
        wanted: &str,
    ) -> Result<Vec<Value>, Status> {
        let webhook = kind.definition().and_then(|it| it.webhook.as_ref());
        let others: Vec<usize> = (objects.iter().enumerate())
            .filter(|(_, object)| object["apiVersion"] != wanted)
            .map(|(idx, _)| idx)
            .collect();
        let Some(webhook) = webhook.filter(|_| !others.is_empty()) else {
            return Ok(objects);
        };
        let sent: Vec<&Value> = others.iter().map(|idx| &objects[*idx]).collect();
        let failed = |why: String| {
            let from = sent[0]["apiVersion"].as_str().unwrap_or_default();
            let kind = kind.kind();
            Status::internal(format!(
                "conversion webhook for {from}, Kind={kind} failed: {why}"
            ))
        };
        let answers = self.ask(webhook, &sent, wanted).await.map_err(failed)?;
        let mut objects = objects;
        for (idx, answer) in others.into_iter().zip(answers) {
            let original = std::mem::take(&mut objects[idx]);
            objects[idx] = with_metadata_of(original, answer);
        }
        Ok(objects)
    }

    async fn ask(
        &self,
        webhook: &Value,
        objects: &[&Value],
        wanted: &str,
    ) -> Result<Vec<Value>, String> {
        let uid = new_uid(&*self.options().random);
        let review = json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "ConversionReview",
            "request": {"uid": uid, "desiredAPIVersion": wanted, "objects": objects},
        });
        let peer = Peer::of_client_config(&webhook["clientConfig"]);
        let reply = self
            .post_json(&peer, review.to_string().into(), TIMEOUT)
            .await
            .map_err(|why| {
                let url = peer.destination.shown(TIMEOUT);
                format!("Post {url:?}: {why}")
            })?;
        let mut reply: Value = serde_json::from_slice(&reply).map_err(|why| why.to_string())?;
        let response = reply["response"].take();
        check(&response, &uid, objects, wanted)
    }
}

/// The converted objects of a response, when it is one to these.
fn check(
    response: &Value,
    uid: &str,
    objects: &[&Value],
    wanted: &str,
) -> Result<Vec<Value>, String> {
    if response["uid"] != uid {
        let given = response["uid"].as_str().unwrap_or_default();
        return Err(format!("expected response.uid={uid:?}, got {given:?}"));
    }
    let result = &response["result"];
    if result["status"] != "Success" {
        let message = result["message"].as_str().unwrap_or_default();
        return Err(message.to_owned());
    }
    let converted = response["convertedObjects"].as_array();
    let converted = converted.cloned().unwrap_or_default();
    if converted.len() != objects.len() {
        let (expected, given) = (objects.len(), converted.len());
        return Err(format!(
            "webhook returned {given} objects, expected {expected}"
        ));
    }
    for (idx, (after, before)) in converted.iter().zip(objects).enumerate() {
        if after["apiVersion"] != wanted {
            return Err(format!(
                "invalid converted object at index {idx}: invalid groupVersion (expected {wanted}, received {})",
                after["apiVersion"].as_str().unwrap_or_default()
            ));
        }
        for field in ["name", "namespace", "uid"] {
            if after["metadata"][field] != before["metadata"][field] {
                return Err(format!(
                    "invalid converted object at index {idx}: must have the same {field}"
                ));
            }
        }
        if after["kind"] != before["kind"] {
            return Err(format!(
                "invalid converted object at index {idx}: must have the same kind"
            ));
        }
    }
    Ok(converted)
}

/// Of the metadata a webhook may change labels and annotations only.
fn with_metadata_of(mut original: Value, mut converted: Value) -> Value {
    let mut metadata = std::mem::take(metadata_mut(&mut original));
    let changed = std::mem::take(metadata_mut(&mut converted));
    for field in ["labels", "annotations"] {
        match changed.get(field) {
            Some(value) => metadata.insert(field.to_owned(), value.clone()),
            None => metadata.remove(field),
        };
    }
    converted["metadata"] = Value::Object(metadata);
    converted
}

#[cfg(test)]
mod tests;
