//! A call that panics is answered with INTERNAL, and its connection and the other calls on it go on.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body::{Body, Frame, SizeHint};
use tonic::Status;
use tonic::codegen::{Service, StdError, http};
use tonic::server::NamedService;

use crate::metrics::PanicIn;
use crate::panics::Panics;

/// A service whose calls may panic.
#[derive(Clone)]
pub(super) struct Caught<S> {
    pub service: S,
    pub panics: Panics,
}

/// What is answered, which may panic too: a stream is made while it is read.
struct CaughtBody<B> {
    /// `None` once it has panicked.
    body: Option<Pin<Box<B>>>,
    panics: Panics,
}

impl<S: NamedService> NamedService for Caught<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, Q, A> Service<http::Request<Q>> for Caught<S>
where
    S: Service<http::Request<Q>, Response = http::Response<A>, Error = Infallible>,
    S::Future: Send + 'static,
    A: Body<Data = Bytes, Error: Into<StdError>> + Send + 'static,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Q>) -> Self::Future {
        let panics = self.panics.clone();
        let Some(answering) = panics.catch_now(PanicIn::Call, || self.service.call(request)) else {
            return Box::pin(async { Ok(panicked().into_http()) });
        };
        Box::pin(async move {
            let answered = panics.catch(PanicIn::Call, answering).await;
            answered.map_or_else(
                || Ok(panicked().into_http()),
                |answer| {
                    Ok(answer?.map(|body| {
                        tonic::body::Body::new(CaughtBody { body: Some(Box::pin(body)), panics })
                    }))
                },
            )
        })
    }
}

impl<B> Body for CaughtBody<B>
where
    B: Body<Data = Bytes, Error: Into<StdError>>,
{
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let Self { body, panics } = &mut *self;
        let Some(open) = body else { return Poll::Ready(None) };
        match panics.catch_now(PanicIn::Call, || open.as_mut().poll_frame(context)) {
            Some(polled) => polled.map_err(Into::into),
            None => {
                *body = None;
                let mut trailers = http::HeaderMap::new();
                let added = panicked().add_header(&mut trailers).map(|()| Frame::trailers(trailers));
                Poll::Ready(Some(added.map_err(Into::into)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), |body| body.size_hint())
    }
}

fn panicked() -> Status {
    Status::internal("the server panicked: see its log")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use futures_util::future::poll_fn;
    use std::future::{Ready, ready};
    use tonic::Code;

    /// Panics where it is told to.
    #[derive(Clone)]
    struct Fragile(&'static str);

    struct FragileBody(&'static str, u32);

    impl Service<http::Request<()>> for Fragile {
        type Response = http::Response<FragileBody>;
        type Error = Infallible;
        type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: http::Request<()>) -> Self::Future {
            assert_ne!(self.0, "call");
            let place = self.0;
            Box::pin(async move {
                let ready: Ready<()> = ready(());
                ready.await;
                assert_ne!(place, "answer");
                Ok(http::Response::new(FragileBody(place, 0)))
            })
        }
    }

    impl Body for FragileBody {
        type Data = Bytes;
        type Error = StdError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
            self.1 += 1;
            assert!(self.0 != "body" || self.1 < 2);
            Poll::Ready((self.1 < 3).then(|| Ok(Frame::data(Bytes::from_static(b"x")))))
        }
    }

    /// How a call ended, by its headers or trailers, and how many frames came before.
    async fn called(place: &'static str, panics: &Panics) -> (Option<Code>, usize) {
        let mut service = Caught { service: Fragile(place), panics: panics.clone() };
        let answer = service.call(http::Request::new(())).await.unwrap();
        let mut code = Status::from_header_map(answer.headers()).map(|status| status.code());
        let (mut body, mut frames) = (Box::pin(answer.into_body()), 0);
        while let Some(frame) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
            match frame.unwrap().into_trailers() {
                Ok(trailers) => code = Status::from_header_map(&trailers).map(|status| status.code()),
                Err(_) => frames += 1,
            }
        }
        (code, frames)
    }

    #[tokio::test]
    async fn a_call_that_panics_wherever_it_does_is_answered_with_internal() {
        let metrics = Metrics::new();
        for (place, ended) in [
            ("nowhere", (None, 2)),
            ("call", (Some(Code::Internal), 0)),
            ("answer", (Some(Code::Internal), 0)),
            ("body", (Some(Code::Internal), 1)),
        ] {
            assert_eq!(called(place, &metrics.panics).await, ended, "{place}");
        }
        assert!(metrics.text().unwrap().contains("marabunta_panics_total{where=\"call\"} 3\n"));
    }
}
