//! Links in a page, rewritten as the page passes by.
//!
//! Only tags are looked at; comments, scripts and styles pass as they are. A tag that is longer than any should be passes as
//! it is too: a page costs one buffer, whatever its size.

use std::io::Write as _;

use bytes::Bytes;
use flate2::write::{GzDecoder, ZlibDecoder};
use futures::{Stream, StreamExt as _, stream};

use super::links::Links;

/// Longest tag that is rewritten.
const TAG_BYTES: usize = 64 * 1024;
/// Elements whose content is no markup.
const RAW: &[&str] = &["script", "style", "textarea", "title"];
/// Attributes that hold links, by element (upstream's `atomsToAttrs`).
const LINKS: &[(&str, &[&str])] = &[
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("video", &["poster", "src"]),
];

enum Decoder {
    Plain,
    Gzip(GzDecoder<Vec<u8>>),
    Deflate(ZlibDecoder<Vec<u8>>),
}

/// Rewrites one page.
pub struct Rewriter {
    links: Links,
    decoder: Decoder,
    /// A tag, or what may become one, whose end is still to come.
    waiting: Vec<u8>,
    /// The element whose raw content is passing.
    raw: Option<&'static str>,
}

impl Rewriter {
    /// For a page in a content encoding; none for one that cannot be read.
    pub fn new(links: Links, encoding: &str) -> Option<Self> {
        let decoder = match encoding {
            "" | "identity" => Decoder::Plain,
            "gzip" => Decoder::Gzip(GzDecoder::new(Vec::new())),
            "deflate" => Decoder::Deflate(ZlibDecoder::new(Vec::new())),
            _ => return None,
        };
        Some(Self {
            links,
            decoder,
            waiting: Vec::new(),
            raw: None,
        })
    }

    /// The page that comes out.
    pub fn over<E: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static>(
        self,
        page: impl Stream<Item = Result<Bytes, E>> + Send + Unpin + 'static,
    ) -> impl Stream<Item = std::io::Result<Bytes>> + Send {
        stream::unfold(Some((self, page)), |state| async {
            let (mut rewriter, mut page) = state?;
            match page.next().await {
                Some(Ok(part)) => match rewriter.take(&part) {
                    Ok(out) => Some((Ok(out.into()), Some((rewriter, page)))),
                    Err(error) => Some((Err(error), None)),
                },
                Some(Err(error)) => Some((Err(std::io::Error::other(error)), None)),
                None => Some((Ok(rewriter.waiting.into()), None)),
            }
        })
    }

    fn take(&mut self, part: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut out = Vec::with_capacity(part.len());
        // In small steps, since a small part may unpack into a large one: each step's page is rewritten before the next.
        for step in part.chunks(1024) {
            let plain = match &mut self.decoder {
                Decoder::Plain => step.to_vec(),
                Decoder::Gzip(decoder) => {
                    decoder.write_all(step)?;
                    std::mem::take(decoder.get_mut())
                }
                Decoder::Deflate(decoder) => {
                    decoder.write_all(step)?;
                    std::mem::take(decoder.get_mut())
                }
            };
            self.waiting.extend_from_slice(&plain);
            self.pass(&mut out);
        }
        Ok(out)
    }

    /// Moves all that is decided from `waiting` to `out`.
    fn pass(&mut self, out: &mut Vec<u8>) {
        let all = std::mem::take(&mut self.waiting);
        let mut rest = all.as_slice();
        while !rest.is_empty() {
            let Some(start) = rest.iter().position(|byte| *byte == b'<') else {
                out.extend_from_slice(rest);
                return;
            };
            out.extend_from_slice(&rest[..start]);
            rest = &rest[start..];
            let Some(n_bytes) = self.markup(rest, out) else {
                if rest.len() > TAG_BYTES {
                    out.extend_from_slice(rest);
                } else {
                    self.waiting = rest.to_vec();
                }
                return;
            };
            rest = &rest[n_bytes..];
        }
    }

    /// Passes what begins with `<`: how many bytes it had, none when its end is still to come.
    fn markup(&mut self, rest: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        if let Some(element) = self.raw {
            let n_end = 2 + element.len();
            if rest.len() <= n_end && is_start_of_end(rest, element) {
                return None;
            }
            if rest.len() > n_end && is_start_of_end(&rest[..n_end], element) {
                self.raw = None;
            }
            out.push(b'<');
            return Some(1);
        }
        if !rest.get(1)?.is_ascii_alphabetic() && !b"/!?".contains(&rest[1]) {
            // A mere sign.
            out.push(b'<');
            return Some(1);
        }
        if rest.starts_with(b"<!--") {
            let end = find(rest, b"-->")? + 3;
            out.extend_from_slice(&rest[..end]);
            return Some(end);
        }
        let end = tag_end(rest)? + 1;
        self.tag(&rest[..end], out);
        Some(end)
    }

    fn tag(&mut self, tag: &[u8], out: &mut Vec<u8>) {
        let name_end = tag[1..]
            .iter()
            .position(|byte| !byte.is_ascii_alphanumeric())
            .map_or(tag.len(), |at| at + 1);
        let name = String::from_utf8_lossy(&tag[1..name_end]).to_ascii_lowercase();
        self.raw = RAW.iter().copied().find(|raw| *raw == name);
        let Some((_, attributes)) = LINKS.iter().find(|(element, _)| *element == name) else {
            out.extend_from_slice(tag);
            return;
        };
        let mut copied = 0;
        for (attribute, value) in attribute_values(tag, name_end) {
            if !attributes.contains(&attribute.as_str()) {
                continue;
            }
            let Ok(link) = std::str::from_utf8(&tag[value.clone()]) else {
                continue;
            };
            out.extend_from_slice(&tag[copied..value.start]);
            out.extend_from_slice(self.links.rewrite(link).as_bytes());
            copied = value.end;
        }
        out.extend_from_slice(&tag[copied..]);
    }
}

fn is_start_of_end(text: &[u8], element: &str) -> bool {
    let end = format!("</{element}");
    let n_bytes = text.len().min(end.len());
    text[..n_bytes].eq_ignore_ascii_case(&end.as_bytes()[..n_bytes])
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// Where a tag's `>` is; one within quotes does not count.
fn tag_end(tag: &[u8]) -> Option<usize> {
    let mut quote = None;
    for (at, byte) in tag.iter().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Some(at),
            (None, b'"' | b'\'') => quote = Some(*byte),
            (Some(open), byte) if open == *byte => quote = None,
            _ => {}
        }
    }
    None
}

/// Attributes of a tag, with where their values are.
fn attribute_values(tag: &[u8], mut at: usize) -> Vec<(String, std::ops::Range<usize>)> {
    let mut found = Vec::new();
    let skip = |mut at: usize, what: fn(u8) -> bool| {
        while tag.get(at).is_some_and(|byte| what(*byte)) {
            at += 1;
        }
        at
    };
    let is_space = |byte: u8| byte.is_ascii_whitespace() || byte == b'/';
    let is_name = |byte: u8| !byte.is_ascii_whitespace() && !b"=>/".contains(&byte);
    while at < tag.len() {
        let start = skip(at, is_space);
        let end = skip(start, is_name);
        at = skip(end, |byte| byte.is_ascii_whitespace());
        if tag.get(at) != Some(&b'=') {
            // Something has to be passed over, or the loop would never end.
            at = at.max(start + 1);
            continue;
        }
        at = skip(at + 1, |byte| byte.is_ascii_whitespace());
        let (from, to) = match tag.get(at) {
            Some(quote @ (b'"' | b'\'')) => {
                let from = at + 1;
                let length = tag[from..].iter().position(|byte| byte == quote);
                (from, length.map_or(tag.len(), |length| from + length))
            }
            _ => (
                at,
                skip(at, |byte| !byte.is_ascii_whitespace() && byte != b'>'),
            ),
        };
        let name = String::from_utf8_lossy(&tag[start..end]).to_ascii_lowercase();
        found.push((name, from..to));
        at = (to + 1).min(tag.len());
    }
    found
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use kontiki_api::Kinds;
    use kontiki_apiserver::Target;

    use super::*;

    const P: &str = "/api/v1/namespaces/a/pods/web/proxy";

    fn links() -> Links {
        let kinds = Kinds::built_in();
        let kind = kinds.by_path("", "v1", "pods").unwrap();
        let target = Target::object(kind, "a", "web");
        let uri = format!("{P}/").parse().unwrap();
        Links::of(&target, &uri, &HeaderMap::new())
    }

    fn rewritten(page: &[u8], encoding: &str, step: usize) -> String {
        let mut rewriter = Rewriter::new(links(), encoding).unwrap();
        let mut out = Vec::new();
        for part in page.chunks(step) {
            out.extend(rewriter.take(part).unwrap());
        }
        out.extend(rewriter.waiting);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn links_are_rewritten_however_the_page_is_cut() {
        let page = "<!DOCTYPE html><HTML><a HREF=\"/x\">1 < <i>2</a><img alt='/no' src='/y' ><img src=/z>\
            <!-- <a href=\"/c\"> --><script src=\"/s.js\">if (a < b) { s = '<a href=\"/t\">' }</script>\
            <a href='rel'>r</a><a data-href=\"/d\" href=\"/e>f\" disabled>e</a><form action=/g></form></HTML>";
        let expected = format!(
            "<!DOCTYPE html><HTML><a HREF=\"{P}/x\">1 < <i>2</a><img alt='/no' src='{P}/y' ><img src={P}/z>\
            <!-- <a href=\"/c\"> --><script src=\"{P}/s.js\">if (a < b) {{ s = '<a href=\"/t\">' }}</script>\
            <a href='rel'>r</a><a data-href=\"/d\" href=\"{P}/e>f\" disabled>e</a><form action={P}/g></form></HTML>"
        );
        for step in [1, 2, 3, 5, 7, 64, 4096] {
            assert_eq!(rewritten(page.as_bytes(), "", step), expected, "{step}");
        }
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(page.as_bytes()).unwrap();
        assert_eq!(rewritten(&packed.finish().unwrap(), "gzip", 11), expected);
    }

    #[test]
    fn nonsense_passes_and_nothing_is_kept_for_ever() {
        for page in [
            "<",
            "<a",
            "<a href",
            "<a href=",
            "<a href=\"",
            "<<>><= ='>",
            "</script",
            "<!--",
        ] {
            assert_eq!(rewritten(page.as_bytes(), "", 1), page);
        }
        let mut rewriter = Rewriter::new(links(), "").unwrap();
        let endless = vec![b'<'; 1];
        rewriter.take(&endless).unwrap();
        for _ in 0..200 {
            rewriter.take(&[b'x'; 1024]).unwrap();
            assert!(rewriter.waiting.len() <= TAG_BYTES + 1024);
        }
        assert!(Rewriter::new(links(), "br").is_none());
    }
}
