//! How the parts of the control plane fare, as ComponentStatus tells it. Who puts the process together knows the parts.

use std::sync::Arc;

use futures::future::BoxFuture;
use kontiki_api::kinds::component_status;
use kontiki_base::status::Status;
use kontiki_state::Object;

use crate::errors::not_found;
use crate::options::{ListOptions, Page, Target};
use crate::selection::Selection;
use crate::server::ApiServer;
use crate::usage;
use crate::write::Draft;

/// A part of the control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// Its name.
    pub name: String,
    /// What it says of itself, or why it can't be asked.
    pub health: Result<String, String>,
}

/// Looks at the parts of the control plane.
pub trait Components: Send + Sync + 'static {
    /// All of them, as they are now.
    fn look(&self) -> BoxFuture<'static, Vec<Component>>;
}

/// There are no parts: for tests.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoComponents;

impl Components for NoComponents {
    fn look(&self) -> BoxFuture<'static, Vec<Component>> {
        Box::pin(std::future::ready(Vec::new()))
    }
}

impl ApiServer {
    /// The parts that are selected, in the order of their names.
    pub(crate) async fn components(
        &self,
        target: &Target,
        options: &ListOptions,
    ) -> Result<Page, Status> {
        if target.kind.group() == usage::GROUP {
            return self.usages(target, options).await;
        }
        let selection = Selection::parse(
            target,
            options.label_selector.as_deref(),
            options.field_selector.as_deref(),
        )?;
        let mut items = self.looked_at(target).await?;
        items.retain(|object| selection.matches(object));
        Ok(Page {
            items,
            ..Page::default()
        })
    }

    /// One part.
    pub(crate) async fn component(&self, target: &Target) -> Result<Arc<Object>, Status> {
        if target.kind.group() == usage::GROUP {
            return self.usage(target).await;
        }
        let mut all = self.looked_at(target).await?.into_iter();
        let found = all.find(|object| *object.key.name == *target.name);
        found.ok_or_else(|| not_found(target))
    }

    async fn looked_at(&self, target: &Target) -> Result<Vec<Arc<Object>>, Status> {
        let mut components = self.options().components.look().await;
        components.sort_by(|a, b| a.name.cmp(&b.name));
        let made = components.iter().map(|Component { name, health }| {
            let draft = Draft::new(&target.kind, component_status::of(name, health))?;
            Ok(Arc::new(Object::new(
                draft.key,
                0,
                0,
                draft.header,
                draft.bytes,
            )))
        });
        made.collect()
    }
}
