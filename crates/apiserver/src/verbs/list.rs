//! List: a page of a collection at one revision.
//!
//! All pages of a list show the revision of the first. The snapshot is kept for a while; on another replica, or when
//! it was dropped, the recent past is put together again from the watch ring. When that is gone too: 410 with a token
//! that goes on at the present revision, as upstream.

use std::sync::Arc;

use kontiki_base::status::{Reason, Status};
use kontiki_state::{Object, Revision};

use crate::history::View;
use crate::options::{Context, ListOptions, Page, Target};
use crate::page_token::PageToken;
use crate::revision::Wanted;
use crate::selection::{Selection, forbidden_option};
use crate::server::ApiServer;

const TOO_OLD: &str = "The provided continue parameter is too old to display a consistent list result. You can start \
                       a new list without the continue parameter, or use the continue token in this response to \
                       retrieve the remainder of the results. Continuing with the provided token results in an \
                       inconsistent list - objects that were created, modified, or deleted between the time the \
                       first chunk was returned and now may show up in the list.";

impl ApiServer {
    /// Reads a page of a collection.
    pub async fn list(
        &self,
        context: &Context,
        target: &Target,
        options: &ListOptions,
    ) -> Result<Page, Status> {
        self.authorize_selection(context, "list", target, options.field_selector.as_deref())
            .await?;
        if target.kind.is_observed() {
            return self.components(target, options).await;
        }
        let page = self.list_unchecked(context, target, options).await?;
        self.shown_page(&target.kind, page).await
    }

    /// `list` for a verb that has its own authorization; items as they are stored.
    pub(crate) async fn list_unchecked(
        &self,
        context: &Context,
        target: &Target,
        options: &ListOptions,
    ) -> Result<Page, Status> {
        check(options)?;
        let selection = Selection::parse(
            target,
            options.label_selector.as_deref(),
            options.field_selector.as_deref(),
        )?;
        let token = options
            .continue_
            .as_deref()
            .filter(|token| !token.is_empty());
        let token = token
            .map(|token| PageToken::decode(token, target))
            .transpose()?;
        let view = match &token {
            Some(token) => self.view_of_token(context, target, token).await?,
            None => self.view_of_options(context, target, options).await?,
        };
        let page = take_page(&view, target, &selection, token.as_ref(), options.limit);
        if !page.continue_.is_empty() {
            self.0.history.keep(view.base().clone(), self.now_unix_ms());
        }
        Ok(page)
    }

    async fn view_of_options(
        &self,
        context: &Context,
        target: &Target,
        options: &ListOptions,
    ) -> Result<View, Status> {
        let exact = match options.resource_version_match.as_deref() {
            Some("Exact") => true,
            Some("NotOlderThan") => false,
            // Upstream's legacy: a limit with a revision asks for exactly that one.
            _ => options.limit > 0,
        };
        match Wanted::parse(options.resource_version.as_deref())? {
            Wanted::Newest => self.read_barrier(context).await?,
            Wanted::Any => {}
            Wanted::AtLeast(revision) => {
                self.wait_revision(revision).await?;
                if exact {
                    return self.view_at(target, revision).ok_or_else(|| {
                        let message = format!(
                            "The resourceVersion for the provided list is too old: {revision}"
                        );
                        Status::new(Reason::Expired, message)
                    });
                }
            }
        }
        Ok(View::now(self.store().snapshot()))
    }

    async fn view_of_token(
        &self,
        context: &Context,
        target: &Target,
        token: &PageToken,
    ) -> Result<View, Status> {
        // A token without a revision came with a 410: the client accepts an inconsistent rest.
        let Some(revision) = token.revision else {
            self.read_barrier(context).await?;
            return Ok(View::now(self.store().snapshot()));
        };
        self.wait_revision(revision).await?;
        self.view_at(target, revision).ok_or_else(|| {
            let restart = PageToken {
                revision: None,
                left: None,
                ..token.clone()
            };
            let mut status = Status::new(Reason::Expired, TOO_OLD);
            status.details.get_or_insert_default().continue_ = restart.encode(target);
            status
        })
    }

    fn view_at(&self, target: &Target, revision: Revision) -> Option<View> {
        if let Some(kept) = self.0.history.find(revision) {
            return Some(View::now(kept));
        }
        View::rewound(self.store(), target.kind.resource(), revision)
    }
}

/// The combinations that upstream refuses.
fn check(options: &ListOptions) -> Result<(), Status> {
    let given = |option: &Option<String>| option.as_deref().is_some_and(|text| !text.is_empty());
    let continues = given(&options.continue_);
    if continues
        && given(&options.resource_version)
        && options.resource_version.as_deref() != Some("0")
    {
        let message = "specifying resource version is not allowed when using continue";
        return Err(Status::bad_request(message));
    }
    let Some(wanted) = options
        .resource_version_match
        .as_deref()
        .filter(|text| !text.is_empty())
    else {
        return Ok(());
    };
    let refuse = |detail: &str| Err(forbidden_option("resourceVersionMatch", detail));
    if continues {
        return refuse("resourceVersionMatch is forbidden when continue is provided");
    }
    if !given(&options.resource_version) {
        return refuse("resourceVersionMatch is forbidden unless resourceVersion is provided");
    }
    match wanted {
        "NotOlderThan" => Ok(()),
        "Exact" if options.resource_version.as_deref() == Some("0") => {
            refuse("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"")
        }
        "Exact" => Ok(()),
        other => Err(Status::bad_request(format!(
            "resourceVersionMatch: Unsupported value: \"{other}\": supported values: \"Exact\", \
             \"NotOlderThan\""
        ))),
    }
}

fn take_page(
    view: &View,
    target: &Target,
    selection: &Selection,
    token: Option<&PageToken>,
    limit: u64,
) -> Page {
    let resource = target.kind.resource();
    let namespace = (!target.namespace.is_empty()).then_some(target.namespace.as_str());
    let after = token.map(|token| (token.namespace.as_str(), token.name.as_str()));
    let limit = usize::try_from(limit)
        .ok()
        .filter(|limit| *limit > 0)
        .unwrap_or(usize::MAX);
    let mut items: Vec<Arc<Object>> = Vec::new();
    let (mut n_seen, mut more) = (0u64, false);
    if let Some((namespace, name)) = selection.single(target) {
        let found = view
            .find(resource, &namespace, &name)
            .filter(|o| selection.matches(o));
        items.extend(found);
    } else {
        for object in view.list(resource, namespace, after) {
            if selection.matches(&object) {
                if items.len() == limit {
                    more = true;
                    break;
                }
                items.push(object);
            }
            n_seen += 1;
        }
    }
    let revision = view.revision();
    let Some(last) = items.last().filter(|_| more) else {
        return Page {
            items,
            revision,
            ..Page::default()
        };
    };
    let total = || match (token, namespace) {
        (Some(token), _) => token.left,
        (None, None) => Some(view.count(resource)),
        (None, Some(_)) => Some(view.list(resource, namespace, None).count() as u64),
    };
    // What was looked at but not taken makes the count of the rest meaningless, so upstream leaves it out too.
    let remaining = if selection.is_everything() {
        total().map(|n| n.saturating_sub(n_seen))
    } else {
        None
    };
    let next = PageToken {
        revision: Some(revision),
        namespace: last.key.namespace.to_string(),
        name: last.key.name.to_string(),
        left: remaining,
    };
    let continue_ = next.encode(target);
    Page {
        items,
        revision,
        continue_,
        remaining,
    }
}
