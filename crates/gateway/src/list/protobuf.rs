//! Lists in protobuf. Their envelope tells the length of all that follows, so a long list is made twice: once to
//! measure it, and once more while it is sent. That takes the time twice and the memory of a chunk, not of the list.

use std::sync::Arc;

use http::StatusCode;
use kontiki_api::protobuf::{Form, write_tail};
use kontiki_apiserver::Page;
use kontiki_base::status::Status;
use kontiki_state::Object;

use super::{CHUNK_BYTES, json_bytes, metadata, streamed};
use crate::respond::{self, Response, Style};
use crate::shape::Shaper;

/// Lists whose stored bytes are fewer are made once and held.
const WHOLE_BYTES: usize = 1024 * 1024;

/// A page as an answer.
pub(super) async fn answer(page: Page, shaper: Shaper, style: Style) -> Result<Response, Status> {
    let (item, list) = forms(&shaper)?;
    let is_short = json_bytes(&page, WHOLE_BYTES) <= WHOLE_BYTES;
    let mut own = Vec::new();
    let metadata = metadata(&page);
    Form::write_list_metadata(&metadata, &mut own).map_err(|error| respond::no_form(&error))?;
    let mut items = Items {
        item,
        shaper,
        json: Vec::new(),
    };
    if is_short {
        for object in &page.items {
            items.write(object, &mut own)?;
        }
        let mut whole = Vec::with_capacity(own.len() + 128);
        list.write_head(own.len(), &mut whole);
        whole.append(&mut own);
        write_tail(&mut whole);
        let content_type = style.format.content_type();
        return Ok(respond::whole(
            StatusCode::OK,
            content_type,
            whole.into(),
            style.gzip,
        ));
    }
    let n_bytes = own.len() + items.measure(&page.items).await?;
    let mut head = Vec::new();
    list.write_head(n_bytes, &mut head);
    head.append(&mut own);
    let chunks = Chunks {
        head: Some(head),
        objects: page.items.into_iter(),
        items,
        is_done: false,
    };
    Ok(streamed(chunks, n_bytes, style))
}

/// The types of an item and of the list.
fn forms(shaper: &Shaper) -> Result<(Form, Form), Status> {
    let (api_version, item, list) = shaper.types();
    let form = |kind: &str| Form::of(api_version, kind).map_err(|error| respond::no_form(&error));
    Ok((form(&item)?, form(&list)?))
}

/// Writes items.
struct Items {
    item: Form,
    shaper: Shaper,
    /// The item at hand, kept for its room.
    json: Vec<u8>,
}

impl Items {
    fn write(&mut self, object: &Object, out: &mut Vec<u8>) -> Result<(), Status> {
        self.json.clear();
        self.shaper.write_item(object, &mut self.json);
        self.item
            .write_item(&respond::tree(&self.json)?, out)
            .map_err(|error| respond::no_form(&error))
    }

    /// Bytes that all items will take. Lets others run between chunks, as this may take seconds.
    async fn measure(&mut self, objects: &[Arc<Object>]) -> Result<usize, Status> {
        let (mut n_bytes, mut chunk) = (0, Vec::new());
        for object in objects {
            self.write(object, &mut chunk)?;
            if chunk.len() >= CHUNK_BYTES {
                n_bytes += chunk.len();
                chunk.clear();
                tokio::task::yield_now().await;
            }
        }
        Ok(n_bytes + chunk.len())
    }
}

/// The parts of a list, in order.
struct Chunks {
    head: Option<Vec<u8>>,
    objects: std::vec::IntoIter<Arc<Object>>,
    items: Items,
    is_done: bool,
}

impl Iterator for Chunks {
    type Item = Result<Vec<u8>, Status>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let mut chunk = self.head.take().unwrap_or_default();
        while chunk.len() < CHUNK_BYTES {
            let Some(object) = self.objects.next() else {
                write_tail(&mut chunk);
                self.is_done = true;
                break;
            };
            if let Err(status) = self.items.write(&object, &mut chunk) {
                self.is_done = true;
                return Some(Err(status));
            }
        }
        Some(Ok(chunk))
    }
}
