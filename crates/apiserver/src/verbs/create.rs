//! Create: POST to a collection, or to a subresource that acts (binding, eviction).

use kontiki_api::Subresource;
use kontiki_api::kind::Review;
use kontiki_api::meta::{Meta, metadata_mut};
use kontiki_base::status::{Reason, Status};
use kontiki_state::OpResult;
use serde_json::Value;

use crate::admission::{self, Effects, Request};
use crate::authz::content::Operation;
use crate::body::Body;
use crate::decode::{decode, match_namespace, recheck};
use crate::errors::{
    MODIFIED, already_exists, conflict, namespace_not_found, namespace_terminating, not_supported,
    undefined,
};
use crate::options::{Answer, Context, Target, WriteOptions, Written};
use crate::server::ApiServer;
use crate::services;
use crate::write::{
    Draft, definition_check, field_manager, generated_name, namespace_check, refusal,
};

/// Attempts to find a generated name that is free; upstream's `maxNameGenerationCreateAttempts`.
const ATTEMPTS: usize = 8;
/// Attempts against others who take addresses, or count against the same quotas by way of other replicas.
const RACES: usize = 64;
const _: () = assert!(ATTEMPTS < RACES);

impl ApiServer {
    /// Creates an object; also POST to a subresource (binding, eviction).
    pub async fn create(
        &self,
        context: &Context,
        target: &Target,
        body: Body,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        self.authorize(context, "create", target).await?;
        context.audit.sends(&body.value);
        match target.subresource {
            None => {}
            Some(Subresource::Binding) => return self.bind(context, target, body, options).await,
            Some(Subresource::Eviction) => return self.evict(context, target, body, options).await,
            Some(Subresource::Token) => {
                return self.request_token(context, target, body, options).await;
            }
            Some(_) => {
                let message = "the server does not allow this method on the requested resource";
                return Err(Status::new(Reason::MethodNotAllowed, message));
            }
        }
        if target.kind.definition().is_some_and(|it| it.is_deleting) {
            return Err(undefined(&OpResult::Deleting));
        }
        if let Some(Review::Binding) = target.kind.review() {
            return self.bind_by_name(context, target, body, options).await;
        }
        if let Some(review) = target.kind.review() {
            return self.review(context, target, review, body, options);
        }
        let mut warnings = Vec::new();
        let mut object = decode(&target.kind, body, options.field_validation, &mut warnings)?;
        match_namespace(target, &mut object)?;
        target.kind.default(&mut object);
        let (manager, now) = (field_manager(context, options)?, self.now_text());
        self.writer(target, &manager, &now)
            .update(None, &mut object);
        target.kind.to_stored(&mut object);
        let answer = self
            .create_object(context, target, object, options, &mut warnings)
            .await?;
        Ok(Written {
            object: self.shown_answer(&target.kind, answer).await?,
            created: true,
            accepted: false,
            warnings,
        })
    }

    /// From a defaulted, tracked object in the form to store to a stored one.
    pub(crate) async fn create_object(
        &self,
        context: &Context,
        target: &Target,
        mut object: Value,
        options: &WriteOptions,
        warnings: &mut Vec<String>,
    ) -> Result<Answer, Status> {
        if target.kind.review().is_some() || target.kind.is_observed() {
            return Err(not_supported(&target.kind, "create"));
        }
        if !Meta::of(&object).resource_version().is_empty() {
            let message = "resourceVersion should not be set on objects to be created";
            return Err(Status::internal(message));
        }
        if options.dry_run {
            self.check_namespace_here(target)?;
        }
        let request = Request {
            server: self,
            context,
            target,
            operation: admission::Operation::Create,
            old: None,
            dry_run: options.dry_run,
            options: Some(options.into()),
        };
        let mut effects = Effects::of_request(&request);
        request.mutate(&mut object, &mut effects).await?;
        recheck(&target.kind, &mut object)?;
        warnings.append(&mut effects.warnings);
        self.identify(&mut object);
        self.authorize_content(context, target, Operation::Create(&object))?;
        warnings.extend(target.kind.warnings(&object, None));
        let base = Meta::of(&object).generate_name().to_owned();
        let generates = Meta::of(&object).name().is_empty() && !base.is_empty();
        let chooses = generates || services::is_service(&target.kind);
        let (mut n_taken, n_warnings) = (0, warnings.len());
        for _ in 0..RACES {
            // A round that lost its race has warned of the same.
            warnings.truncate(n_warnings);
            // Only what is chosen here, or counted elsewhere, has another attempt.
            let mut attempt = if chooses {
                object.clone()
            } else {
                std::mem::take(&mut object)
            };
            if generates {
                let name = generated_name(&base, &*self.options().random);
                metadata_mut(&mut attempt).insert("name".into(), name.into());
            }
            // Not earlier: a Job's labels carry its uid and its name.
            target.kind.prepare_create(&mut attempt);
            let claims = services::allocate(self, &target.kind, None, &mut attempt)?;
            let errors = target.kind.validate(&attempt, None);
            if !errors.is_empty() {
                return Err(target.kind.invalid(&attempt, &errors));
            }
            let mut effects = Effects::of_request(&request);
            request.validate(Some(&attempt), &mut effects).await?;
            warnings.append(&mut effects.warnings);
            if !effects.ops.is_empty() && !chooses {
                object = attempt.clone();
            }
            self.fill_token_secret(context, target, &mut attempt)
                .await?;
            let attempt = self.storage_form(&target.kind, attempt).await?;
            let draft = Draft::new(&target.kind, attempt)?;
            let named = Target {
                name: draft.key.name.to_string(),
                ..target.clone()
            };
            if options.dry_run {
                return match self.find(&named) {
                    Some(_) => Err(already_exists(&target.kind, &named.name)),
                    None => Ok(draft.rendered(None)),
                };
            }
            let mut ops = vec![draft.create()];
            ops.extend(namespace_check(target));
            ops.extend(definition_check(&target.kind));
            ops.extend(claims.ops);
            ops.extend(effects.ops);
            match self.commit(context, &named, ops).await? {
                done @ OpResult::Done { .. } => {
                    return Ok(Answer::Object(draft.stored(&done, None)));
                }
                OpResult::AlreadyExists { .. } if generates => {
                    n_taken += 1;
                    if n_taken == ATTEMPTS {
                        break;
                    }
                }
                // What was counted or an address was taken meanwhile: the next round sees it, and refuses it if it was
                // asked for.
                OpResult::Aborted => self.read_barrier(context).await?,
                refused => return Err(refusal(&target.kind, &named.name, &refused)),
            }
        }
        if !generates {
            return Err(conflict(&target.kind, &base, MODIFIED));
        }
        let mut status = already_exists(&target.kind, &base);
        status
            .message
            .push_str(", the server was not able to generate a unique name for the object");
        Err(status)
    }

    /// What the transaction would find out, for a dry run and for who waits for something in the namespace.
    pub(crate) fn check_namespace_here(&self, target: &Target) -> Result<(), Status> {
        if !target.kind.namespaced() {
            return Ok(());
        }
        match self
            .store()
            .snapshot()
            .find("namespaces", "", &target.namespace)
        {
            None => Err(namespace_not_found(&target.namespace)),
            Some(namespace) if namespace.header.deleting => {
                Err(namespace_terminating(target, &target.namespace))
            }
            Some(_) => Ok(()),
        }
    }
}
