//! The API of AWS Secrets Manager: one request, for which its SDK would be one more crate in every function.

use std::sync::LazyLock;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use aws_smithy_runtime_api::client::identity::Identity;
use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use serde::Deserialize;
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::refusal::Refusal;
use crate::aws::{self, HttpClient};
use crate::clock::Clock;
use crate::config::{Secret, SecretName};
use crate::error::with_causes;

const SERVICE: &str = "secretsmanager";
const GET_SECRET_VALUE: &str = "secretsmanager.GetSecretValue";
const JSON: &str = "application/x-amz-json-1.1";
/// Of one attempt, from its first packet to the last.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// Before the second attempt, where there was an answer to the first.
const PAUSE: Duration = Duration::from_millis(100);
/// The most bytes of an answer. A secret has 64 KB at most, which are escaped in it.
const MAX_BYTES: usize = 256 * 1_024;

/// Reads secrets.
pub(super) struct SecretsManager {
    /// Where, if not at AWS.
    endpoint: Option<String>,
    /// `None` if there are none, so that nothing can be read.
    credentials: Option<Credentials>,
    clock: Clock,
    /// Made with the first secret, since that takes long.
    client: LazyLock<Result<HttpClient, String>>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "SecretString")]
    text: Option<String>,
}

#[derive(Default, Deserialize)]
struct Failure {
    /// The name of the exception, perhaps with a namespace and a `#` before it.
    #[serde(rename = "__type", default)]
    kind: String,
}

/// Why an attempt brought nothing.
enum Failed {
    /// Another one may bring something: there was no answer, or one that says so.
    Passing(Refusal),
    Lasting(Refusal),
}

impl SecretsManager {
    pub(super) fn new(endpoint: Option<String>, credentials: Option<Credentials>, clock: Clock) -> Self {
        Self { endpoint, credentials, clock, client: LazyLock::new(aws::client) }
    }

    /// The text of a secret, in its current version. Takes 4.1 s at most, with its repeat.
    pub(super) async fn text(&self, secret: &SecretName) -> Result<Secret, Refusal> {
        let credentials = self.credentials.as_ref().ok_or(Refusal::NoCredentials)?;
        let client = self.client.as_ref().map_err(|error| Refusal::Unreadable(error.clone()))?;
        match self.attempt(client, credentials, secret).await {
            Ok(text) => Ok(text),
            Err(Failed::Lasting(refusal)) => Err(refusal),
            Err(Failed::Passing(_)) => {
                sleep(PAUSE).await;
                let second = self.attempt(client, credentials, secret).await;
                second.map_err(|(Failed::Passing(refusal) | Failed::Lasting(refusal))| refusal)
            }
        }
    }

    async fn attempt(
        &self,
        client: &HttpClient,
        credentials: &Credentials,
        secret: &SecretName,
    ) -> Result<Secret, Failed> {
        let request = self.request(credentials, secret);
        let request = request.map_err(|error| Failed::Lasting(Refusal::Unreadable(error)))?;
        let asking = async {
            let answer = client.request(request).await.map_err(|error| with_causes(&error))?;
            let status = answer.status().as_u16();
            let body =
                Limited::new(answer.into_body(), MAX_BYTES).collect().await.map_err(|error| error.to_string())?;
            Ok::<_, String>((status, body.to_bytes()))
        };
        let asked = timeout(ATTEMPT_TIMEOUT, asking).await;
        let asked = asked.unwrap_or_else(|_| Err(format!("no answer within {} s", ATTEMPT_TIMEOUT.as_secs())));
        let (status, body) = asked.map_err(|reason| Failed::Passing(Refusal::Unreadable(reason)))?;
        read(status, &body)
    }

    /// The signed request.
    fn request(&self, credentials: &Credentials, secret: &SecretName) -> Result<Request<Full<Bytes>>, String> {
        let endpoint = self.endpoint.clone().unwrap_or_else(|| secret.endpoint());
        let uri = format!("{}/", endpoint.trim_end_matches('/')).parse::<Uri>().map_err(text_of)?;
        let host = uri.authority().map(ToString::to_string).unwrap_or_default();
        let body = json!({ "SecretId": secret.arn }).to_string();
        let headers = [("host", host.as_str()), ("content-type", JSON), ("x-amz-target", GET_SECRET_VALUE)];
        let identity = Identity::from(credentials.clone());
        let params = SigningParams::builder()
            .identity(&identity)
            .region(&secret.region)
            .name(SERVICE)
            .time(self.clock.system_time())
            .settings(SigningSettings::default())
            .build()
            .map_err(text_of)?
            .into();
        let signable =
            SignableRequest::new("POST", uri.to_string(), headers.into_iter(), SignableBody::Bytes(body.as_bytes()));
        let (signature, _) = sign(signable.map_err(text_of)?, &params).map_err(text_of)?.into_parts();
        let mut request = Request::post(uri);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let mut request = request.body(Full::from(body)).map_err(text_of)?;
        signature.apply_to_request_http1x(&mut request);
        Ok(request)
    }
}

fn text_of(error: impl ToString) -> String {
    error.to_string()
}

/// The text in an answer. Messages of AWS are not passed on: only the name of an exception is known to contain no secret.
fn read(status: u16, body: &[u8]) -> Result<Secret, Failed> {
    if status == 200 {
        let answer: Answer = serde_json::from_slice(body)
            .map_err(|_| Failed::Lasting(Refusal::Unreadable("the answer is not that of Secrets Manager".into())))?;
        return answer.text.map(Secret::new).ok_or(Failed::Lasting(Refusal::Binary));
    }
    let failure: Failure = serde_json::from_slice(body).unwrap_or_default();
    let kind = failure.kind.rsplit('#').next().filter(|kind| kind.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    let kind = kind.unwrap_or_default();
    let refusal = match kind {
        "ResourceNotFoundException" => Refusal::Absent,
        "AccessDeniedException" => Refusal::Forbidden,
        _ => Refusal::Unreadable(format!("{status} {kind}").trim().to_owned()),
    };
    let is_passing = status >= 500 || kind == "ThrottlingException";
    Err(if is_passing { Failed::Passing(refusal) } else { Failed::Lasting(refusal) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SecretNames;

    const ARN: &str = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop/database-AbCdEf";

    fn outcome(status: u16, body: &str) -> Result<String, (bool, Refusal)> {
        read(status, body.as_bytes()).map(|text| text.reveal().to_owned()).map_err(|failed| match failed {
            Failed::Passing(refusal) => (true, refusal),
            Failed::Lasting(refusal) => (false, refusal),
        })
    }

    #[test]
    fn an_answer_is_a_text_or_why_there_is_none() {
        let unreadable = |reason: &str| Refusal::Unreadable(reason.into());
        assert_eq!(outcome(200, r#"{"ARN":"x","SecretString":"{\"a\":1}"}"#), Ok(r#"{"a":1}"#.into()));
        for (status, body, is_passing, refusal) in [
            (200, r#"{"ARN":"x","SecretBinary":"aHVudGVyMg=="}"#, false, Refusal::Binary),
            (200, "hunter2", false, unreadable("the answer is not that of Secrets Manager")),
            (400, r#"{"__type":"ResourceNotFoundException","Message":"hunter2"}"#, false, Refusal::Absent),
            (400, r#"{"__type":"com.amazon#AccessDeniedException","message":"x"}"#, false, Refusal::Forbidden),
            (400, r#"{"__type":"ThrottlingException"}"#, true, unreadable("400 ThrottlingException")),
            (400, r#"{"__type":"DecryptionFailure"}"#, false, unreadable("400 DecryptionFailure")),
            (400, r#"{"__type":"hunter 2"}"#, false, unreadable("400")),
            (503, "hunter2", true, unreadable("503")),
        ] {
            assert_eq!(outcome(status, body), Err((is_passing, refusal)), "{status} {body}");
        }
    }

    #[test]
    fn a_request_is_signed_with_the_region_of_its_secret() {
        let names = SecretNames::read(|name| (name == "DATABASE_URL").then(|| ARN.to_owned()));
        let secret = names.names[0].1.clone().unwrap();
        for (endpoint, uri, host) in [
            (None, "https://secretsmanager.eu-west-1.amazonaws.com/", "secretsmanager.eu-west-1.amazonaws.com"),
            (Some("http://127.0.0.1:9/".to_owned()), "http://127.0.0.1:9/", "127.0.0.1:9"),
        ] {
            let credentials = Credentials::new("AKIDEXAMPLE", "key", Some("token".to_owned()), None, "test");
            let manager = SecretsManager::new(endpoint, Some(credentials.clone()), Clock::manual(1_800_000_000_000));
            let request = manager.request(&credentials, &secret).unwrap();
            let header = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
            assert_eq!((request.uri().to_string().as_str(), header("host").as_str()), (uri, host));
            assert_eq!(header("x-amz-target"), "secretsmanager.GetSecretValue");
            assert_eq!(header("content-type"), "application/x-amz-json-1.1");
            let signed = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20270115/eu-west-1/secretsmanager/aws4_request, \
                          SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target, Signature=";
            assert!(header("authorization").starts_with(signed), "{}", header("authorization"));
        }
    }
}
