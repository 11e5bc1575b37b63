//! A small request with a body and its small answer, over the same connections as images: names, proxies and trusted
//! certificates are the same. Redirects are handed out, not followed.

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderName};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::connect::Via;
use super::{Fault, Web, request_failed};

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Posted {
    /// The HTTP status.
    pub(crate) status: u16,
    /// Its body, not longer than was allowed.
    pub(crate) body: Bytes,
}

impl Web {
    /// Posts `body`; the answer's body may have up to `most` bytes. The caller bounds the time.
    pub(crate) async fn post(
        &self,
        url: &Url,
        headers: Vec<(HeaderName, String)>,
        body: Bytes,
        most: usize,
    ) -> Result<Posted, Fault> {
        let connection = self.connector.connect(url).await?;
        let request = request_for(url, &connection.via, headers, body)?;
        let (mut sender, driver) = http1::handshake(TokioIo::new(connection.io))
            .await
            .map_err(|error| request_failed(&error))?;
        // An error of the connection is the answer's error too, and told there.
        let _driver = AbortOnDropHandle::new(tokio::spawn(async move { drop(driver.await) }));
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| request_failed(&error))?;
        whole(response, most).await
    }
}

fn request_for(
    url: &Url,
    via: &Via,
    headers: Vec<(HeaderName, String)>,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, Fault> {
    let target = match via {
        Via::Origin => &url[url::Position::BeforePath..url::Position::AfterQuery],
        Via::Forwarder(_) => &url[..url::Position::AfterQuery],
    };
    let mut request = Request::post(target)
        .header(
            header::HOST,
            &url[url::Position::BeforeHost..url::Position::AfterPort],
        )
        .header(header::USER_AGENT, concat!("labyard/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close");
    if let Via::Forwarder(Some(credentials)) = via {
        request = request.header(header::PROXY_AUTHORIZATION, credentials);
    }
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.body(Full::new(body)).map_err(|error| Fault::Connect {
        stage: crate::image::error::ConnectStage::Request,
        reason: error.to_string(),
    })
}

async fn whole(response: Response<hyper::body::Incoming>, most: usize) -> Result<Posted, Fault> {
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| request_failed(&error))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > most {
            return Err(Fault::SpoolLimit { limit: most as u64 });
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Posted {
        status,
        body: bytes.freeze(),
    })
}
