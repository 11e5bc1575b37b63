//! `labyard login`: a person signs in at the identity provider of a daemon, in a browser, and the terminal gets the token.

use super::{
    Output,
    output::{at, or_dash, say},
};
use crate::sign_in::under_way::challenge;
use labyard_api::{
    client::{Client, ENDPOINT_VARIABLE},
    routes::{Op, route},
    token::Ticket,
};
use labyard_labs::ids::random_id;
use std::{error::Error, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// How long a person may take.
const PATIENCE: Duration = Duration::from_secs(600);
/// The longest head of a request that is read.
const LONGEST: usize = 8192;

/// Signs in.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The daemon, like https://labyard.example:7443.
    #[arg(long, value_name = "URL", env = ENDPOINT_VARIABLE)]
    endpoint: String,
    /// For whom it is printed: the token alone, or all that is known of it.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// Signs in: `LABYARD_TOKEN=$(labyard login)`.
pub(crate) fn execute(options: &Options) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(async {
        match tokio::time::timeout(PATIENCE, signed_in(options)).await {
            Ok(done) => done,
            Err(_) => Err("nobody came back from the identity provider within ten minutes".into()),
        }
    });
    runtime.shutdown_background();
    done
}

async fn signed_in(options: &Options) -> Result<(), Box<dyn Error>> {
    let client = Client::http(&options.endpoint, None)?;
    let verifier = random_id()? + &random_id()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let url = format!(
        "{}{}?port={port}&challenge={}",
        options.endpoint.trim_end_matches('/'),
        route(Op::Login).path,
        challenge(&verifier)
    );
    // Standard output is the token's.
    eprintln!("Sign in with a browser on this computer; it asks you whether port {port} is yours:\n{url}");
    let ticket = ticket(&listener).await?;
    let made = client.sign_in(&Ticket { ticket, verifier }).await?;
    eprintln!(
        "Signed in as {}, {}, until {}.",
        made.token.name,
        made.token.role,
        or_dash(made.token.expires_at.map(at))
    );
    match options.output {
        Output::Table => say(&format!("{}\n", made.text))?,
        Output::Json => say(&(serde_json::to_string_pretty(&made)? + "\n"))?,
    }
    Ok(())
}

/// What the browser brings. Whatever else asks at the port meanwhile is sent away.
async fn ticket(listener: &TcpListener) -> Result<String, std::io::Error> {
    loop {
        let (mut stream, _) = listener.accept().await?;
        let mut head = vec![0; LONGEST];
        let mut length = 0;
        let read = async {
            while length < LONGEST && !head[..length].ends_with(b"\r\n\r\n") {
                match stream.read(&mut head[length..]).await {
                    Ok(0) | Err(_) => break,
                    Ok(more) => length += more,
                }
            }
        };
        // A browser opens connections that it does not use.
        let _ = tokio::time::timeout(Duration::from_secs(5), read).await;
        let found = brought(&String::from_utf8_lossy(&head[..length]));
        let (status, text) = match found {
            Some(_) => ("200 OK", "You are signed in. Go back to the terminal."),
            None => ("404 Not Found", "Nothing is here."),
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nReferrer-Policy: no-referrer\r\n\
             Connection: close\r\n\r\n{text}",
            text.len()
        );
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
        if let Some(found) = found {
            return Ok(found);
        }
    }
}

fn brought(head: &str) -> Option<String> {
    let target = head.strip_prefix("GET ")?.split(' ').next()?;
    let ticket = target.strip_prefix("/?ticket=")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    (!ticket.is_empty() && ticket.chars().all(plain)).then(|| ticket.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_ticket_is_taken() {
        assert_eq!(
            brought("GET /?ticket=aB-_9 HTTP/1.1\r\n\r\n").as_deref(),
            Some("aB-_9")
        );
        for other in [
            "GET / HTTP/1.1\r\n",
            "GET /?ticket= HTTP/1.1",
            "POST /?ticket=a HTTP/1.1",
            "GET /?ticket=a&b HTTP/1.1",
            "",
        ] {
            assert_eq!(brought(other), None, "{other}");
        }
    }
}
