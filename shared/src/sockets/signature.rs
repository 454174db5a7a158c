//! Signatures of `POST @connections`. Of what AWS' signer does for each request, all that is the same for a day is done once: a
//! request differs from the one before in its path, its body and its time.

use std::sync::{Arc, Mutex, PoisonError};

use aws_credential_types::Credentials;
use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use http::header::{AUTHORIZATION, HeaderName};
use http::{HeaderValue, Request};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use time::OffsetDateTime;
use time::format_description::StaticFormatDescription;
use time::macros::format_description;

use crate::clock::Clock;
use crate::ids::{hex, sha256};

const SERVICE: &str = "execute-api";
const DATE_TIME: StaticFormatDescription = format_description!("[year][month][day]T[hour][minute][second]Z");
const X_AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
const X_AMZ_SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
/// What a canonical path contains as it is. It is encoded once more than the path of the request.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Signs requests to one host, in one region.
pub(super) struct Signer {
    credentials: Credentials,
    region: String,
    host: String,
    /// The last day's.
    key: Mutex<Option<(String, Arc<Vec<u8>>)>>,
}

impl Signer {
    pub(super) fn new(credentials: Credentials, region: String, host: String) -> Self {
        Self { credentials, region, host, key: Mutex::default() }
    }

    /// Signs a POST without a query to this host. `body_hash`: SHA-256 of its body, in hexadecimal digits.
    pub(super) fn sign<T>(&self, request: &mut Request<T>, body_hash: &str, clock: &Clock) -> Result<(), String> {
        let now = clock.system_time();
        let date_time = OffsetDateTime::from(now).format(DATE_TIME).map_err(|error| error.to_string())?;
        let (date, _) = date_time.split_once('T').unwrap_or((&date_time, ""));
        let (scope, token) =
            (format!("{date}/{}/{SERVICE}/aws4_request", self.region), self.credentials.session_token());
        let (host, path) = (&self.host, utf8_percent_encode(request.uri().path(), ESCAPED));
        // In the order of their names.
        let (token_line, signed) = match token {
            Some(token) => (format!("x-amz-security-token:{token}\n"), "host;x-amz-date;x-amz-security-token"),
            None => (String::new(), "host;x-amz-date"),
        };
        let canonical =
            format!("POST\n{path}\n\nhost:{host}\nx-amz-date:{date_time}\n{token_line}\n{signed}\n{body_hash}");
        let to_sign = format!("AWS4-HMAC-SHA256\n{date_time}\n{scope}\n{}", hex(&sha256(canonical.as_bytes())));
        let secret = self.credentials.secret_access_key();
        let key = self.key(date, || generate_signing_key(secret, now, &self.region, SERVICE).as_ref().to_vec());
        let signature = calculate_signature(&*key, to_sign.as_bytes());
        let access_key = self.credentials.access_key_id();
        let authorization =
            format!("AWS4-HMAC-SHA256 Credential={access_key}/{scope}, SignedHeaders={signed}, Signature={signature}");
        let headers = request.headers_mut();
        let secret = |text: &str| {
            let mut value = HeaderValue::from_str(text).map_err(|error| error.to_string())?;
            value.set_sensitive(true);
            Ok::<_, String>(value)
        };
        headers.insert(AUTHORIZATION, secret(&authorization)?);
        headers.insert(X_AMZ_DATE, HeaderValue::from_str(&date_time).map_err(|error| error.to_string())?);
        if let Some(token) = token {
            headers.insert(X_AMZ_SECURITY_TOKEN, secret(token)?);
        }
        Ok(())
    }

    /// The key of a day.
    fn key(&self, date: &str, made: impl FnOnce() -> Vec<u8>) -> Arc<Vec<u8>> {
        let mut last = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((day, key)) if *day == date => Arc::clone(key),
            _ => {
                let key = Arc::new(made());
                *last = Some((date.to_owned(), Arc::clone(&key)));
                key
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
    use aws_sigv4::sign::v4::SigningParams;
    use aws_smithy_runtime_api::client::identity::Identity;
    use http::header::HOST;

    use super::*;

    const HOST_NAME: &str = "abc123.execute-api.eu-central-1.amazonaws.com";
    const REGION: &str = "eu-central-1";

    fn request(path: &str) -> Request<()> {
        Request::post(format!("https://{HOST_NAME}{path}")).header(HOST, HOST_NAME).body(()).unwrap()
    }

    /// What AWS' own signer makes of the same.
    fn signed_by_aws(path: &str, credentials: &Credentials, hash: &str, clock: &Clock) -> Request<()> {
        let (mut request, identity) = (request(path), Identity::from(credentials.clone()));
        let params = SigningParams::builder()
            .identity(&identity)
            .region(REGION)
            .name(SERVICE)
            .time(clock.system_time())
            .settings(SigningSettings::default())
            .build()
            .unwrap()
            .into();
        let (uri, headers) = (request.uri().to_string(), [(HOST.as_str(), HOST_NAME)]);
        let body = SignableBody::Precomputed(hash.to_owned());
        let signable = SignableRequest::new("POST", &uri, headers.into_iter(), body).unwrap();
        sign(signable, &params).unwrap().into_parts().0.apply_to_request_http1x(&mut request);
        request
    }

    #[test]
    fn requests_are_signed_as_aws_signs_them() {
        let (second, midnight) = (1_000, 1_800_057_600_000);
        for token in [None, Some("FwoGZXIvYXdzEJ/token+of=a/role==".to_owned())] {
            let credentials = Credentials::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG", token, None, "test");
            let signer = Signer::new(credentials.clone(), REGION.into(), HOST_NAME.into());
            for path in
                ["/prod/@connections/PJqB0fHsqRcCHlw%3D", "/@connections/a_b-c.d~e", "/x/@connections/%25%2F%20"]
            {
                // The day changes, and once more if the clock is set back.
                for now_ms in [midnight - second, midnight, midnight + second, midnight - second] {
                    let clock = Clock::manual(now_ms);
                    let hash = hex(&sha256(path.as_bytes()));
                    let mut own = request(path);
                    signer.sign(&mut own, &hash, &clock).unwrap();
                    let theirs = signed_by_aws(path, &credentials, &hash, &clock);
                    assert_eq!(own.headers(), theirs.headers(), "{path} {now_ms}");
                }
            }
        }
    }
}
