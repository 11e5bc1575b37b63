//! The gate of calls that change something.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::*;
use crate::NetworkRef;
use crate::connection::Gate;

#[derive(Default)]
struct Book(Mutex<Vec<String>>);

#[async_trait]
impl Gate for Book {
    async fn before(&self, procedure: &'static str) -> u64 {
        let mut lines = self.0.lock().unwrap();
        lines.push(format!("before {procedure}"));
        lines.len() as u64
    }

    async fn after(&self, ticket: u64, procedure: &'static str) {
        self.0.lock().unwrap().push(format!("after {ticket} {procedure}"));
    }
}

#[tokio::test]
async fn a_gate_stands_around_calls_that_change_something_also_where_they_fail() {
    let (connection, mut peer) = connected().await;
    let book = Arc::new(Book::default());
    let connection = connection.through(book.clone());
    let network = NetworkRef::new("n", Uuid::nil());
    let script = async {
        peer.answer_next(&p::CONNECT_GET_HOSTNAME, &"host").await;
        peer.answer_next(&p::NETWORK_CREATE, &()).await;
        let serial = peer.hear_call(&p::NETWORK_DESTROY).await.serial;
        peer.refuse(&p::NETWORK_DESTROY, serial, 43).await;
    };
    let calls = async {
        connection.connect_get_hostname().await.unwrap();
        connection.wide().network_create(&network).await.unwrap();
        connection.network_destroy(&network).await.unwrap_err();
    };
    tokio::join!(script, calls);
    assert_eq!(
        *book.0.lock().unwrap(),
        [
            "before NETWORK_CREATE",
            "after 1 NETWORK_CREATE",
            "before NETWORK_DESTROY",
            "after 3 NETWORK_DESTROY"
        ]
    );
}
