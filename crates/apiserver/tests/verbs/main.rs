//! Each verb against the in-memory backend: what is stored, what is answered, what is refused and in which words.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests too.

mod access;
mod accounts;
mod admitting;
mod applying;
mod batches;
mod creating;
mod custom;
mod deleting;
mod evicting;
mod listing;
mod nodes;
mod patching;
mod pods;
mod policies;
mod quotas;
mod rights;
mod services;
mod tokens;
mod updating;
mod versions;
mod watching;

use kontiki_apiserver::testing::admin;
use kontiki_apiserver::{
    ApiServer, Body, DeleteOptions, GetOptions, PatchType, Target, WriteOptions, Written,
};
use kontiki_base::status::Status;
use serde_json::Value;

async fn get(server: &ApiServer, target: &Target) -> Result<Value, Status> {
    let answer = server.get(&admin(), target, &GetOptions::default()).await?;
    Ok(answer.value())
}

async fn post(server: &ApiServer, target: &Target, value: Value) -> Result<Written, Status> {
    server
        .create(
            &admin(),
            target,
            Body::from(value),
            &WriteOptions::default(),
        )
        .await
}

async fn put(server: &ApiServer, target: &Target, value: Value) -> Result<Value, Status> {
    let options = WriteOptions::default();
    let written = server
        .update(&admin(), target, Body::from(value), &options)
        .await?;
    Ok(written.object.value())
}

async fn patch(
    server: &ApiServer,
    target: &Target,
    format: PatchType,
    value: Value,
) -> Result<Value, Status> {
    let options = WriteOptions::default();
    let written = server
        .patch(&admin(), target, format, Body::from(value), &options)
        .await?;
    Ok(written.object.value())
}

async fn apply(
    server: &ApiServer,
    target: &Target,
    manager: &str,
    force: bool,
    value: Value,
) -> Result<Value, Status> {
    let options = WriteOptions {
        field_manager: Some(manager.into()),
        ..WriteOptions::default()
    };
    let format = PatchType::Apply { force };
    let written = server
        .patch(&admin(), target, format, Body::from(value), &options)
        .await?;
    Ok(written.object.value())
}

async fn delete(server: &ApiServer, target: &Target) -> Result<Value, Status> {
    let written = server
        .delete(&admin(), target, &DeleteOptions::default())
        .await?;
    Ok(written.object.value())
}

fn revision(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap()
}
