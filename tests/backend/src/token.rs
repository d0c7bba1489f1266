//! What a request has to carry to have come from another service.

use std::time::SystemTime;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use portcullis_service_token_verifier::{Error, Secret, SetupError, StaticVerifier, Verifier};
use serde_json::json;

use crate::app::App;
use crate::connection::Line;
use crate::problem::Problem;

/// Accepts this secret in `x-service-token`, however short it is.
pub(crate) fn only(secret: String) -> Result<Verifier, SetupError> {
    let secret = Secret::new("service-token", secret)?.allow_short();
    Ok(StaticVerifier::new([secret])?.into())
}

/// Middleware: refuses and logs a request without a credential (401) or with one that is not accepted (403).
///
/// The problem is the same for every kind, as the services of the guarded system have it; the log says what was wrong.
pub(crate) async fn require(
    State(app): State<App>,
    ConnectInfo(line): ConnectInfo<Line>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(verifier) = &app.0.verifier else {
        return next.run(request).await;
    };
    let error = match verifier.verify(&request, SystemTime::now()) {
        Ok(verified) => {
            request.extensions_mut().insert(verified);
            return next.run(request).await;
        }
        Err(error) => error,
    };
    let (status, reason, message) = refusal(&error);
    eprintln!(
        "{}",
        json!({
            "event": "refused",
            "reason": reason,
            "error": error.reason(),
            "method": request.method().as_str(),
            "path": request.uri().path(),
            "peer": line.peer().to_string(),
        })
    );
    Problem::new(status, reason, message).into_response()
}

fn refusal(error: &Error) -> (StatusCode, &'static str, &'static str) {
    match error {
        Error::Missing => (
            StatusCode::UNAUTHORIZED,
            "missing_service_token",
            "X-Service-Token is missing",
        ),
        Error::NoncesFull => (
            error.status(),
            "service_token_unavailable",
            "the service token can't be checked at this time",
        ),
        _ => (
            StatusCode::FORBIDDEN,
            "wrong_service_token",
            "X-Service-Token is not accepted",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(values: &[&'static str]) -> Result<(), u16> {
        let mut request = Request::get("/");
        for value in values {
            request = request.header("x-service-token", *value);
        }
        let request = request.body(()).unwrap();
        let verified = only("0123abcd".to_owned())
            .unwrap()
            .verify(&request, SystemTime::UNIX_EPOCH);
        verified
            .map(|_| ())
            .map_err(|error| refusal(&error).0.as_u16())
    }

    #[test]
    fn only_the_very_same_string_is_accepted() {
        assert_eq!(checked(&["0123abcd"]), Ok(()));
        assert_eq!(checked(&[]), Err(401));
        assert_eq!(checked(&[""]), Err(401), "as Kong takes a header away");
        for wrong in [
            "0123abc",
            "0123abcde",
            "0123ABCD",
            "${INTER_SERVICE_SECRET}",
        ] {
            assert_eq!(checked(&[wrong]), Err(403), "{wrong:?}");
        }
    }

    #[test]
    fn a_genuine_token_beside_a_forged_one_is_wrong() {
        assert_eq!(checked(&["forged", "0123abcd"]), Err(403));
        assert_eq!(checked(&["0123abcd", "forged"]), Err(403));
        assert_eq!(checked(&["0123abcd", "0123abcd"]), Err(403));
    }

    #[test]
    fn a_token_does_not_print_itself() {
        let verifier = only("0123abcd".to_owned()).unwrap();
        assert!(!format!("{verifier:?}").contains("0123abcd"));
        assert!(only(String::new()).is_err());
    }
}
