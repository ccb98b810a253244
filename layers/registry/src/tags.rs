//! Tags of a repository, page by page (distribution-spec 1.1, "Listing Tags").

use reqwest::{Method, Response, StatusCode, Url};
use serde::Deserialize;

use crate::client::{Remote, Repository};
use crate::connection::{same_origin, shown};
use crate::error::{Error, Reason};
use crate::reference::Tag;
use crate::request::{Call, header};
use crate::retry::{Budget, Stop};

/// Tags asked for at a time; registries give fewer if they like.
const PAGE: usize = 1000;
/// Bytes of one page.
const PAGE_BYTES: u64 = 8 << 20;
/// Pages that are turned before a registry is thought to go round in circles.
pub(crate) const PAGES_MAX: usize = 10_000;
/// Tags that are taken.
const TAGS_MAX: usize = 1_000_000;

impl Repository {
    /// All tags, in the registry's order; `None` when there is no such repository. What is not a tag by
    /// the specification is left out.
    ///
    /// # Errors
    /// The registry does not give them.
    pub fn tags(&self) -> Result<Option<Vec<Tag>>, Error> {
        self.block_on(self.remote.tags())
    }
}

impl Remote {
    async fn tags(&self) -> Result<Option<Vec<Tag>>, Error> {
        #[derive(Deserialize)]
        struct Page {
            // Some registries say null for none.
            tags: Option<Vec<String>>,
        }
        let what = format!("list the tags of {}", self.place());
        let mut tags = Vec::new();
        let first = self.url(&format!("tags/list?n={PAGE}")).await.map_err(|stop| stop.into_error(&what))?;
        let mut next = Some(first);
        for _ in 0..PAGES_MAX {
            let Some(url) = next.take() else { return Ok(Some(tags)) };
            let Some((body, following)) = self.page(&what, &url, PAGE_BYTES, None).await? else { return Ok(None) };
            let page: Page = serde_json::from_slice(&body)
                .map_err(|_| Error::registry(&what, Reason::Protocol("the list of tags is not one".into())))?;
            tags.extend(page.tags.unwrap_or_default().iter().filter_map(|text| text.parse::<Tag>().ok()));
            if tags.len() > TAGS_MAX {
                break;
            }
            next = following;
        }
        Err(Error::registry(&what, Reason::Protocol("the list of tags has no end".into())))
    }

    /// One page, and the URL of the one after it; `None` when there is no such thing.
    pub(crate) async fn page(
        &self,
        what: &str,
        url: &Url,
        limit: u64,
        content_type: Option<&str>,
    ) -> Result<Option<(Vec<u8>, Option<Url>)>, Error> {
        let access = self.access(false);
        let mut budget = Budget::new(&self.inner.options);
        loop {
            let attempt = async {
                let response = self.inner.send(&Call::new(Method::GET, url.clone(), &access)).await?;
                match response.status() {
                    StatusCode::OK => {}
                    StatusCode::NOT_FOUND => return Ok(None),
                    _ => return Err(self.inner.refused(response).await),
                }
                if let Some(expected) = content_type
                    && header(&response, "content-type").map(crate::manifest::bare_type).as_deref() != Some(expected)
                {
                    return Ok(None);
                }
                let next = following(&response, url)?;
                Ok::<_, Stop>(Some((self.inner.body(response, limit).await?, next)))
            };
            match attempt.await {
                Ok(page) => return Ok(page),
                Err(stop) => self.inner.again(what, &mut budget, stop, 0).await?,
            }
        }
    }
}

/// The URL of the next page (RFC 8288), which is at the same registry.
fn following(response: &Response, url: &Url) -> Result<Option<Url>, Reason> {
    let Some(target) = header(response, "link").and_then(next_link) else { return Ok(None) };
    let next = url.join(target).map_err(|_| Reason::Protocol("the link to the next page is not one".into()))?;
    if !same_origin(&next, url) {
        return Err(Reason::Unsafe { to: shown(&next), why: "for the next page of a list" });
    }
    if next == *url {
        return Err(Reason::Protocol("a page is its own next one".into()));
    }
    Ok(Some(next))
}

/// The target of `<TARGET>; rel="next"`.
fn next_link(text: &str) -> Option<&str> {
    let mut rest = text;
    loop {
        let start = rest.find('<')?;
        let after = rest.get(start.checked_add(1)?..)?;
        let (target, parameters) = after.split_once('>')?;
        let end = parameters.find('<').unwrap_or(parameters.len());
        let (own, others) = parameters.split_at(end);
        let is_next = own.split([';', ',']).any(|part| {
            part.trim().split_once('=').is_some_and(|(name, value)| {
                name.trim().eq_ignore_ascii_case("rel") && value.trim().trim_matches('"').eq_ignore_ascii_case("next")
            })
        });
        if is_next {
            return Some(target);
        }
        rest = others;
    }
}

#[cfg(test)]
mod tests {
    use super::next_link;

    #[test]
    fn the_link_to_the_next_page_is_found() {
        assert_eq!(next_link("</v2/a/tags/list?n=1&last=x>; rel=\"next\""), Some("/v2/a/tags/list?n=1&last=x"));
        assert_eq!(next_link("<a>; rel=prev, <b>; title=\"x\"; rel=next"), Some("b"));
        for nothing in ["", "<", "<a", "<a>", "<a>; rel=prev", "rel=next", "><"] {
            assert_eq!(next_link(nothing), None, "{nothing}");
        }
    }
}
