//! The codes of failures that the gRPC library finds before a service is asked: a message that is too large or does not
//! decode is the caller's fault, and callers tell faults apart by their codes.

use axum::Router;
use axum::middleware::map_response;
use axum::response::Response;
use http::HeaderValue;
use tonic::Code;

const STATUS: &str = "grpc-status";
const MESSAGE: &str = "grpc-message";
/// What the library says, as headers spell it, its own code, and the one that fits.
const REFINED: [(&str, Code, Code); 2] = [
    (
        "decoded%20message%20length%20too%20large",
        Code::OutOfRange,
        Code::ResourceExhausted,
    ),
    (
        "failed%20to%20decode%20Protobuf%20message",
        Code::Internal,
        Code::InvalidArgument,
    ),
];

/// Refines the codes of all services of a router.
pub fn refined(services: Router) -> Router {
    services.layer(map_response(refine))
}

async fn refine(mut response: Response) -> Response {
    let headers = response.headers();
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let (Some(status), Some(message)) = (text(STATUS), text(MESSAGE)) else {
        return response;
    };
    let fitting = REFINED
        .iter()
        .find(|(words, code, _)| message.contains(words) && status == (*code as i32).to_string());
    if let Some((.., code)) = fitting {
        let code = HeaderValue::from(*code as i32);
        response.headers_mut().insert(STATUS, code);
    }
    response
}
