//! Answers to challenges: user and password, or tokens from a token server, kept while they last
//! (distribution's token specification, and its OAuth2 variant for identity tokens).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{Response, StatusCode, Url};
use serde::Deserialize;

use crate::challenge::{self, Challenge};
use crate::client::Inner;
use crate::connection::{failure, same_origin, shown};
use crate::credentials::Credential;
use crate::error::{Reason, Refusals};
use crate::outgoing::Outgoing;
use crate::reference::is_loopback;
use crate::request::Access;
use crate::retry::Stop;

/// How long a token lasts when its server does not say (token specification, "Token Response").
const LIFETIME: Duration = Duration::from_secs(60);
/// The longest that is believed.
const LIFETIME_MAX: Duration = Duration::from_secs(24 * 3600);
/// A token is not used in the last part of its life: it has to last until it is looked at.
const MARGIN: Duration = Duration::from_secs(10);
/// Bytes of a token server's answer; tokens have a few thousand.
const ANSWER_MAX: u64 = 1 << 20;
/// Scopes that a registry may add to those we ask for.
const SCOPES_MAX: usize = 10;
/// What the token server is told we are.
const CLIENT: &str = "image-composer";
/// Redirects of a token server, within itself.
const MAX_REDIRECTS: usize = 3;

/// What is known about getting into a repository.
#[derive(Default)]
pub(crate) struct State {
    credential: Option<Option<Credential>>,
    challenge: Option<Challenge>,
    /// By the scopes asked for.
    tokens: BTreeMap<String, Token>,
    /// An identity token newer than the configured one.
    refresh: Option<String>,
}

struct Token {
    header: HeaderValue,
    until: Instant,
}

impl Inner {
    async fn state(&self, access: &Access) -> Arc<tokio::sync::Mutex<State>> {
        let key = (access.host.clone(), access.name.clone());
        self.states.lock().await.entry(key).or_default().clone()
    }

    /// Whether there is a credential that was used.
    pub(crate) async fn has_credential(&self, access: &Access) -> bool {
        self.state(access).await.lock().await.credential.as_ref().is_some_and(Option::is_some)
    }

    /// The header that says who asks, as far as the registry is known to want one.
    pub(crate) async fn authorization(&self, access: &Access, base: &Url) -> Result<Option<HeaderValue>, Stop> {
        let state = self.state(access).await;
        let mut state = state.lock().await;
        match state.challenge.clone() {
            None => Ok(None),
            Some(Challenge::Basic) => match self.credential(&mut state, access).await? {
                Some(Credential::Basic { user, password }) => Ok(Some(basic(&user, &password)?)),
                _ => Ok(None),
            },
            Some(challenge @ Challenge::Bearer { .. }) => {
                let scopes = access.scopes();
                let fresh = state.tokens.get(&scopes.join(" ")).filter(|token| token.until > Instant::now());
                match fresh {
                    Some(token) => Ok(Some(token.header.clone())),
                    None => Ok(Some(self.fetch_token(&mut state, access, base, &challenge, scopes).await?)),
                }
            }
        }
    }

    /// Answers a 401, so that the same request may be sent once more.
    pub(crate) async fn renew(
        &self,
        access: &Access,
        base: &Url,
        challenges: &[String],
        used: Option<&HeaderValue>,
        refusals: Refusals,
    ) -> Result<(), Stop> {
        let refuse = |had| Err(Reason::Unauthorized { had, refusals }.into());
        let Some(challenge) = challenge::best(challenges.iter().map(String::as_str)) else {
            return refuse(used.is_some());
        };
        let state = self.state(access).await;
        let mut state = state.lock().await;
        let credential = self.credential(&mut state, access).await?;
        if let Challenge::Bearer { scope, .. } = &challenge {
            let mut scopes = access.scopes();
            let key = scopes.join(" ");
            let known = state.tokens.get(&key).map(|token| &token.header);
            if known.is_some() && known != used {
                // Another request has renewed it in the meantime.
                return Ok(());
            }
            state.tokens.remove(&key);
            add_scopes(&mut scopes, scope.as_deref().unwrap_or_default());
            let header = self.fetch_token_as(&mut state, access, base, &challenge, scopes, key).await?;
            state.challenge = Some(challenge);
            if used == Some(&header) {
                return refuse(credential.is_some());
            }
            return Ok(());
        }
        let Some(Credential::Basic { user, password }) = credential else {
            return refuse(false);
        };
        state.challenge = Some(Challenge::Basic);
        if used == Some(&basic(&user, &password)?) { refuse(true) } else { Ok(()) }
    }

    async fn credential(&self, state: &mut State, access: &Access) -> Result<Option<Credential>, Stop> {
        if let Some(known) = &state.credential {
            return Ok(known.clone());
        }
        let (source, host, name) = (self.credentials.clone(), access.host.clone(), access.name.clone());
        // A helper may think for a while, or ask a person.
        let found = tokio::task::spawn_blocking(move || source.credential(&host, name.as_ref()))
            .await
            .map_err(|_| Reason::Protocol("looking for credentials broke down".into()))?
            .map_err(|error| Stop::Fatal(error.into()))?;
        state.credential = Some(found.clone());
        Ok(found)
    }

    async fn fetch_token(
        &self,
        state: &mut State,
        access: &Access,
        base: &Url,
        challenge: &Challenge,
        scopes: Vec<String>,
    ) -> Result<HeaderValue, Stop> {
        let key = scopes.join(" ");
        self.fetch_token_as(state, access, base, challenge, scopes, key).await
    }

    /// Gets a token, and keeps it under `key`.
    async fn fetch_token_as(
        &self,
        state: &mut State,
        access: &Access,
        base: &Url,
        challenge: &Challenge,
        scopes: Vec<String>,
        key: String,
    ) -> Result<HeaderValue, Stop> {
        let credential = self.credential(state, access).await?;
        if let Some(Credential::Bearer(token)) = &credential {
            return Ok(bearer(token)?);
        }
        let Challenge::Bearer { realm, service, .. } = challenge else {
            return Err(Reason::Protocol("a token without a token server".into()).into());
        };
        let realm = self.realm(realm, base)?;
        let service = service.as_deref().unwrap_or_default();
        let had = credential.is_some();
        let response = match &credential {
            Some(Credential::Identity(identity)) => {
                let identity = state.refresh.as_ref().unwrap_or(identity);
                let scope = scopes.join(" ");
                let mut form = Url::parse("http://form.invalid/").map_err(|_| Reason::Protocol("no form".into()))?;
                form.query_pairs_mut()
                    .append_pair("grant_type", "refresh_token")
                    .append_pair("service", service)
                    .append_pair("client_id", CLIENT)
                    .append_pair("scope", &scope)
                    .append_pair("refresh_token", identity);
                self.post_form(&realm, form.query().unwrap_or_default()).await?
            }
            other => {
                let mut url = realm.clone();
                {
                    let mut query = url.query_pairs_mut();
                    if !service.is_empty() {
                        query.append_pair("service", service);
                    }
                    for scope in &scopes {
                        query.append_pair("scope", scope);
                    }
                    if let Some(Credential::Basic { user, .. }) = other {
                        query.append_pair("account", user);
                    }
                }
                let header = match other {
                    Some(Credential::Basic { user, password }) => Some(basic(user, password)?),
                    _ => None,
                };
                self.get_token(url, header).await?
            }
        };
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST => {
                let refusals = match self.refused(response).await {
                    Stop::Failed(Reason::Denied(refusals) | Reason::Status { refusals, .. }, _) => refusals,
                    Stop::Failed(..) => Refusals::default(),
                    fatal @ Stop::Fatal(_) => return Err(fatal),
                };
                return Err(Reason::Unauthorized { had, refusals }.into());
            }
            _ => return Err(self.refused(response).await),
        }
        #[derive(Deserialize)]
        struct Answer {
            token: Option<String>,
            access_token: Option<String>,
            // Not all servers know that it is a number.
            expires_in: Option<serde_json::Value>,
            refresh_token: Option<String>,
        }
        let body = self.body(response, ANSWER_MAX).await?;
        // What is in it is a secret, so the sentence says nothing about it.
        let broken = || Reason::Protocol("the token server's answer holds no token".into());
        let answer: Answer = serde_json::from_slice(&body).map_err(|_| broken())?;
        let set = |text: Option<String>| text.filter(|text| !text.is_empty());
        let token = set(answer.token).or(set(answer.access_token)).ok_or_else(broken)?;
        let header = bearer(&token)?;
        if matches!(credential, Some(Credential::Identity(_))) {
            state.refresh = set(answer.refresh_token).or(state.refresh.take());
        }
        let seconds = answer.expires_in.as_ref().and_then(|value| match value {
            serde_json::Value::String(text) => text.parse().ok(),
            other => other.as_u64(),
        });
        let lifetime = seconds.filter(|seconds: &u64| *seconds > 0).map_or(LIFETIME, Duration::from_secs);
        let lifetime = lifetime.min(LIFETIME_MAX);
        let until = Instant::now() + lifetime.saturating_sub(MARGIN.min(lifetime / 4));
        state.tokens.insert(key, Token { header: header.clone(), until });
        Ok(header)
    }

    /// The token server, if it is one that may be told a password: the registry names it, and only
    /// a registry that is itself spoken to in plain text may name one that is.
    fn realm(&self, text: &str, base: &Url) -> Result<Url, Stop> {
        let url = Url::parse(text).map_err(|_| Reason::Protocol("the token server's URL is not one".into()))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Reason::Protocol("the token server's URL holds a user".into()).into());
        }
        let (host, registry) = (url.host_str().unwrap_or_default(), base.host_str().unwrap_or_default());
        let allowed = match url.scheme() {
            "https" => true,
            "http" if base.scheme() == "http" => {
                host == registry || self.is_insecure_url(&url) || (is_loopback(host) && is_loopback(registry))
            }
            _ => false,
        };
        if allowed {
            Ok(url)
        } else {
            Err(Reason::Unsafe { to: shown(&url), why: "a token server that is not to be trusted with a password" }
                .into())
        }
    }

    async fn get_token(&self, mut url: Url, header: Option<HeaderValue>) -> Result<Response, Stop> {
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self.clients.of(&url)?.get(url.clone());
            if let Some(header) = &header {
                request = request.header(AUTHORIZATION, header);
            }
            let response = self.watched(request.send(), true, None).await?.map_err(failure)?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let target = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let next = target.and_then(|target| url.join(target).ok());
            let next = next.ok_or_else(|| Reason::Protocol("a redirect without a place to go".into()))?;
            if !same_origin(&next, &url) {
                let why = "from its token server, which is not followed with a password";
                return Err(Reason::Unsafe { to: shown(&next), why }.into());
            }
            url = next;
        }
        Err(Reason::Protocol("the token server redirects without end".into()).into())
    }

    async fn post_form(&self, realm: &Url, form: &str) -> Result<Response, Stop> {
        let body = Outgoing::all(Bytes::copy_from_slice(form.as_bytes()));
        let request = self
            .clients
            .of(realm)?
            .post(realm.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(CONTENT_LENGTH, body.length)
            .body(body.body());
        Ok(self.watched(request.send(), true, None).await?.map_err(failure)?)
    }
}

/// Adds what a registry wants beyond what is asked for.
fn add_scopes(scopes: &mut Vec<String>, wanted: &str) {
    for scope in wanted.split_ascii_whitespace() {
        let Some((resource, actions)) = scope.rsplit_once(':') else { continue };
        let has = |own: &String| {
            own.rsplit_once(':').is_some_and(|(own_resource, own_actions)| {
                own_resource == resource
                    && actions.split(',').all(|action| own_actions.split(',').any(|own| own == action))
            })
        };
        if !scopes.iter().any(has) && scopes.len() < SCOPES_MAX {
            scopes.push(scope.to_owned());
        }
    }
}

fn basic(user: &str, password: &str) -> Result<HeaderValue, Reason> {
    secret(&format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
}

fn bearer(token: &str) -> Result<HeaderValue, Reason> {
    secret(&format!("Bearer {token}"))
}

fn secret(text: &str) -> Result<HeaderValue, Reason> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| Reason::Protocol("a token or password that no header can hold".into()))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_added_to_the_scopes() {
        let mut scopes = vec!["repository:a/b:pull,push".to_owned()];
        add_scopes(&mut scopes, "repository:a/b:pull  registry:catalog:* nonsense repository:a/b:delete");
        assert_eq!(scopes, ["repository:a/b:pull,push", "registry:catalog:*", "repository:a/b:delete"]);
        add_scopes(&mut scopes, &"x:y:z ".repeat(3));
        assert_eq!(scopes.len(), 4);
    }

    #[test]
    fn a_header_that_holds_a_secret_does_not_show_it() {
        assert!(!format!("{:?}", basic("u", "hunter2").ok()).contains("aHVudGVy"));
        assert!(bearer("a\r\nHost: b").is_err());
    }
}
