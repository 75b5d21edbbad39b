//! Reviews: questions about tokens and rights, asked by a create, answered in the status, never stored.

mod access;
mod rules;

use kontiki_api::kind::Review;
use kontiki_base::status::Status;
use serde_json::{Value, json};

use crate::body::Body;
use crate::decode::{decode, match_namespace};
use crate::errors::not_supported;
use crate::options::{Answer, Context, Target, User, WriteOptions, Written};
use crate::server::ApiServer;

impl ApiServer {
    /// Answers a review.
    pub(crate) fn review(
        &self,
        context: &Context,
        target: &Target,
        review: Review,
        body: Body,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        let mut warnings = Vec::new();
        let mut object = decode(&target.kind, body, options.field_validation, &mut warnings)?;
        match_namespace(target, &mut object)?;
        let status = match review {
            Review::Token => self.token_review(&object)?,
            Review::Myself => json!({"userInfo": user_info(&context.user)}),
            Review::Access => self.access_review(target, &object)?,
            Review::LocalAccess => self.local_access_review(target, &object)?,
            Review::SelfAccess => self.self_access_review(context, target, &object)?,
            Review::SelfRules => self.self_rules_review(context, &object)?,
            // It does something, elsewhere.
            Review::Binding => return Err(not_supported(&target.kind, "create")),
        };
        object["status"] = status;
        object["metadata"]["creationTimestamp"] = Value::Null;
        Ok(Written {
            object: Answer::Rendered(object),
            created: true,
            accepted: false,
            warnings,
        })
    }

    /// Whose token it is.
    fn token_review(&self, object: &Value) -> Result<Value, Status> {
        let token = object["spec"]["token"].as_str().unwrap_or_default();
        if token.is_empty() {
            return Err(Status::bad_request(
                "token is required for TokenReview in authentication",
            ));
        }
        let asked = object["spec"]["audiences"].as_array().into_iter().flatten();
        let mut audiences: Vec<String> =
            asked.filter_map(Value::as_str).map(str::to_owned).collect();
        if audiences.is_empty() {
            audiences = self.options().issuer.audiences().to_vec();
        }
        Ok(match self.user_of_token(token, &audiences) {
            Some((user, audiences)) => json!({
                "authenticated": true,
                "user": user_info(&user),
                "audiences": audiences,
            }),
            None => json!({"user": {}, "error": "invalid bearer token"}),
        })
    }
}

/// A user as `authentication.k8s.io/v1 UserInfo`.
fn user_info(user: &User) -> Value {
    let mut info = json!({"username": user.name, "groups": user.groups});
    if !user.uid.is_empty() {
        info["uid"] = user.uid.as_str().into();
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}
