//! What gateways tell unasked: `POST /notifications/{gateway}`. A listener of its own, as it is the one that must be
//! reached from the gateway's network: nothing else is served there.
//!
//! The receipt, `[accepted]`, is given only when what was told is written down; without it the gateway tells again.
//! Who may tell is proved by the gateway's signature alone.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::header::{CACHE_CONTROL, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hushpad_domain::ids::GatewayName;
use hushpad_domain::ports::{NotificationInbox, NotificationRefused};
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::warn;

/// The name in the path of a gateway in the configuration is shorter.
const NAME_CHARS_MAX: usize = 128;
/// Adyen sends one item of one or two KB at a time, up to six.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Adyen gives up after ten seconds.
const BODY_TIME_OUT: Duration = Duration::from_secs(10);
/// Bodies that are read at one time: 16 MiB. More are told to come again, which gateways do.
const AT_ONCE_MAX: usize = 256;
/// What Adyen wants to read (docs.adyen.com, "Accept notifications").
const ACCEPTED: &str = "[accepted]";

/// The listener of gateways.
pub fn notification_router(inbox: Arc<dyn NotificationInbox>) -> Router {
    let host = Host { inbox, places: Arc::new(Semaphore::new(AT_ONCE_MAX)) };
    Router::new()
        .route("/notifications/{gateway}", post(notified))
        .method_not_allowed_fallback(async || StatusCode::METHOD_NOT_ALLOWED)
        .fallback(async || StatusCode::NOT_FOUND)
        .layer(CatchPanicLayer::custom(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response()))
        .with_state(host)
}

#[derive(Clone)]
struct Host {
    inbox: Arc<dyn NotificationInbox>,
    places: Arc<Semaphore>,
}

async fn notified(State(host): State<Host>, Path(gateway): Path<String>, body: Body) -> Response {
    match take(&host, gateway, body).await {
        Ok(()) => ([(CACHE_CONTROL, HeaderValue::from_static("no-store"))], ACCEPTED).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

async fn take(host: &Host, gateway: String, body: Body) -> Result<(), Refusal> {
    let _place = host.places.try_acquire().map_err(|_| Refusal::Busy)?;
    if gateway.chars().count() > NAME_CHARS_MAX {
        return Err(Refusal::NotTaken(NotificationRefused::NoSuchGateway));
    }
    let read = Limited::new(body, BODY_BYTES_MAX).collect();
    let body = match tokio::time::timeout(BODY_TIME_OUT, read).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(Refusal::TooLarge),
        Ok(Err(_)) => return Err(Refusal::NotTaken(NotificationRefused::Malformed)),
        Err(_) => return Err(Refusal::TooSlow),
    };
    host.inbox.notified(&GatewayName(gateway), &body).await.map_err(Refusal::NotTaken)
}

/// Why a notification was not taken.
enum Refusal {
    NotTaken(NotificationRefused),
    TooLarge,
    TooSlow,
    Busy,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let again = [(RETRY_AFTER, HeaderValue::from_static("5"))];
        match self {
            Self::NotTaken(NotificationRefused::NoSuchGateway) => StatusCode::NOT_FOUND.into_response(),
            Self::NotTaken(NotificationRefused::Malformed) => StatusCode::BAD_REQUEST.into_response(),
            Self::NotTaken(NotificationRefused::NotSigned) => StatusCode::UNAUTHORIZED.into_response(),
            Self::NotTaken(NotificationRefused::Store(error)) => {
                warn!(%error, "a notification could not be written down");
                (StatusCode::SERVICE_UNAVAILABLE, again).into_response()
            }
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT.into_response(),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, again).into_response(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use http::Request;
    use hushpad_domain::ports::StoreUnavailable;
    use tower::ServiceExt;

    use super::*;

    /// Keeps what it took; refuses by the body's first byte.
    #[derive(Default)]
    struct Inbox(Mutex<Vec<(String, Vec<u8>)>>);

    #[async_trait]
    impl NotificationInbox for Inbox {
        async fn notified(&self, gateway: &GatewayName, body: &[u8]) -> Result<(), NotificationRefused> {
            match body.first() {
                Some(b'?') => return Err(NotificationRefused::Malformed),
                Some(b'!') => return Err(NotificationRefused::NotSigned),
                Some(b'-') => return Err(StoreUnavailable("full".to_owned()).into()),
                _ => {}
            }
            if gateway.as_str() == "nobody" {
                return Err(NotificationRefused::NoSuchGateway);
            }
            self.0.lock().unwrap().push((gateway.to_string(), body.to_vec()));
            Ok(())
        }
    }

    async fn send(inbox: &Arc<Inbox>, path: &str, body: impl Into<Body>) -> (StatusCode, String) {
        let request = Request::post(path).body(body.into()).unwrap();
        let reply = notification_router(inbox.clone()).oneshot(request).await.unwrap();
        let status = reply.status();
        let body = reply.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_receipt_is_given_only_for_what_was_written_down() {
        let inbox = Arc::new(Inbox::default());
        let taken = send(&inbox, "/notifications/adyen", "{}").await;
        assert_eq!(taken, (StatusCode::OK, "[accepted]".to_owned()));
        assert_eq!(*inbox.0.lock().unwrap(), [("adyen".to_owned(), b"{}".to_vec())]);
        for (path, body, status) in [
            ("/notifications/adyen", "?", 400),
            ("/notifications/adyen", "!", 401),
            ("/notifications/adyen", "-", 503),
            ("/notifications/nobody", "{}", 404),
            ("/notifications", "{}", 404),
            ("/v1/session", "{}", 404),
        ] {
            let (refused, said) = send(&inbox, path, body).await;
            assert_eq!((refused.as_u16(), said.as_str()), (status, ""), "{path} {body}");
        }
        assert_eq!(inbox.0.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_bound() {
        let inbox = Arc::new(Inbox::default());
        let most = send(&inbox, "/notifications/adyen", vec![b' '; BODY_BYTES_MAX]).await;
        assert_eq!(most.0, StatusCode::OK);
        let more = send(&inbox, "/notifications/adyen", vec![b' '; BODY_BYTES_MAX + 1]).await;
        assert_eq!(more.0, StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_not_waited_for() {
        let inbox = Arc::new(Inbox::default());
        let body = Body::from_stream(futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
        assert_eq!(send(&inbox, "/notifications/adyen", body).await.0, StatusCode::REQUEST_TIMEOUT);
    }
}
