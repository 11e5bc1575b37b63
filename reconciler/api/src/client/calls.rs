//! Each call by its name.

use super::{Answered, Call, Client, ClientError, Events, whole};
use crate::{
    List,
    claim::{Claim, Extend, IDEMPOTENCY_KEY, Phase, Redeem, Redeemed},
    code::{Code, Values},
    event::LAST_EVENT_ID,
    host::{Host, Wish, Wished},
    image::{Capture, Image, Images},
    maker::Making,
    network::{Network, Networks},
    operation::{Operation, State},
    pool::{Member, Pool},
    quota::Quota,
    routes::Op,
    server::Server,
    token::{MadeToken, NewToken, Ticket, Token},
    vm::{PutVm, Vm, Vms},
};
use serde_json::Value;

/// Which part of a long list.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Of which namespace alone.
    pub namespace: Option<String>,
    /// How many at most.
    pub limit: Option<u32>,
    /// Where the part before ended.
    pub after: Option<String>,
}

impl Page {
    fn call(&self) -> Call {
        Call::default()
            .query("namespace", self.namespace.as_ref())
            .query("limit", self.limit)
            .query("after", self.after.as_ref())
    }
}

/// Who makes a pool or a code, in words that the server does not read.
#[derive(Clone, Debug)]
pub struct Maker<'a> {
    /// The maker.
    pub maker: &'a str,
    /// Another, whose object is taken over.
    pub left_by: Option<&'a str>,
}

/// On which version of an object a change rests.
#[derive(Clone, Debug, Default)]
pub enum Rests {
    /// On none.
    #[default]
    Nowhere,
    /// On this one: its `ETag`.
    On(String),
    /// On there being none yet.
    OnNone,
}

impl Rests {
    fn put_into(&self, call: Call) -> Call {
        match self {
            Self::Nowhere => call,
            Self::On(tag) => call.header("If-Match", Some(tag)),
            Self::OnNone => call.header("If-None-Match", Some("*")),
        }
    }
}

impl Maker<'_> {
    fn put_into(&self, call: Call) -> Call {
        call.query("maker", Some(self.maker))
            .query("left_by", self.left_by)
    }
}

type Answer<T> = Result<T, ClientError>;

impl Client {
    async fn value<T: serde::de::DeserializeOwned>(&self, op: Op, call: Call) -> Answer<T> {
        Ok(self.ask(op, call).await?.value)
    }

    /// What the server is.
    ///
    /// # Errors
    /// As all calls.
    pub async fn server(&self) -> Answer<Server> {
        self.value(Op::ShowServer, Call::default()).await
    }

    /// A code is redeemed.
    ///
    /// # Errors
    /// As all calls: if the server is not reached or refuses.
    pub async fn redeem(&self, key: &str, asked: &Redeem) -> Answer<Redeemed> {
        let call = Call::default().header(IDEMPOTENCY_KEY, Some(key)).json(asked);
        self.value(Op::Redeem, call).await
    }

    /// Claims, the newest first.
    ///
    /// # Errors
    /// As all calls.
    pub async fn claims(&self, page: &Page, phase: Option<Phase>) -> Answer<List<Claim>> {
        let call = page.call().query("phase", phase.map(Phase::word));
        self.value(Op::ListClaims, call).await
    }

    /// What is done with a claim, or only seen of it.
    ///
    /// # Errors
    /// As all calls.
    pub async fn claim(&self, op: Op, id: &str) -> Answer<Claim> {
        self.value(op, Call::of(&[id])).await
    }

    /// A claim ends later.
    ///
    /// # Errors
    /// As all calls.
    pub async fn extend(&self, id: &str, by_s: u32) -> Answer<Claim> {
        let call = Call::of(&[id]).json(&Extend { by_s });
        self.value(Op::ExtendClaim, call).await
    }

    /// Pools by namespace and name.
    ///
    /// # Errors
    /// As all calls.
    pub async fn pools(&self, namespace: Option<&str>) -> Answer<List<Pool>> {
        let call = Call::default().query("namespace", namespace);
        self.value(Op::ListPools, call).await
    }

    /// A pool.
    ///
    /// # Errors
    /// As all calls.
    pub async fn pool(&self, namespace: Option<&str>, name: &str) -> Answer<Answered<Pool>> {
        self.ask(Op::ShowPool, Call::of(&[name]).query("namespace", namespace))
            .await
    }

    /// Its machines.
    ///
    /// # Errors
    /// As all calls.
    pub async fn members(&self, namespace: Option<&str>, name: &str) -> Answer<List<Member>> {
        let call = Call::of(&[name]).query("namespace", namespace);
        self.value(Op::ListMembers, call).await
    }

    /// A pool is made or changed; `asked` is `labyard_vm_pool`.
    ///
    /// # Errors
    /// As all calls.
    pub async fn put_pool(
        &self,
        namespace: Option<&str>,
        name: &str,
        asked: &Value,
        rests: &Rests,
    ) -> Answer<Operation> {
        let call = Call::of(&[name]).query("namespace", namespace).json(asked);
        self.value(Op::PutPool, rests.put_into(call)).await
    }

    /// A pool is made by a maker, or taken over.
    ///
    /// # Errors
    /// As all calls.
    pub async fn make_pool(
        &self,
        namespace: Option<&str>,
        name: &str,
        asked: &Value,
        by: &Maker<'_>,
    ) -> Answer<Operation> {
        let call = Call::of(&[name]).query("namespace", namespace).json(asked);
        self.value(Op::PutPool, by.put_into(call)).await
    }

    /// A pool or a code has this maker, or none any more: `op` is [`Op::MakePool`] or [`Op::MakeCode`].
    ///
    /// # Errors
    /// As all calls.
    pub async fn making(&self, op: Op, namespace: Option<&str>, name: &str, making: &Making) -> Answer<()> {
        let call = Call::of(&[name]).query("namespace", namespace).json(making);
        self.value(op, call).await
    }

    /// A pool is removed.
    ///
    /// # Errors
    /// As all calls.
    pub async fn delete_pool(&self, namespace: Option<&str>, name: &str, rests: &Rests) -> Answer<Operation> {
        let call = Call::of(&[name]).query("namespace", namespace);
        self.value(Op::DeletePool, rests.put_into(call)).await
    }

    /// Codes by namespace and name.
    ///
    /// # Errors
    /// As all calls.
    pub async fn codes(&self, namespace: Option<&str>) -> Answer<List<Code>> {
        let call = Call::default().query("namespace", namespace);
        self.value(Op::ListCodes, call).await
    }

    /// A code.
    ///
    /// # Errors
    /// As all calls.
    pub async fn code(&self, namespace: Option<&str>, name: &str) -> Answer<Answered<Code>> {
        self.ask(Op::ShowCode, Call::of(&[name]).query("namespace", namespace))
            .await
    }

    /// What is typed to redeem a code.
    ///
    /// # Errors
    /// As all calls.
    pub async fn values(&self, namespace: Option<&str>, name: &str) -> Answer<Values> {
        let call = Call::of(&[name]).query("namespace", namespace);
        self.value(Op::ShowValues, call).await
    }

    /// A code is made or changed; `asked` is `labyard_access_code`.
    ///
    /// # Errors
    /// As all calls.
    pub async fn put_code(
        &self,
        namespace: Option<&str>,
        name: &str,
        asked: &Value,
        rests: &Rests,
    ) -> Answer<Operation> {
        let call = Call::of(&[name]).query("namespace", namespace).json(asked);
        self.value(Op::PutCode, rests.put_into(call)).await
    }

    /// A code is made by a maker, or taken over.
    ///
    /// # Errors
    /// As all calls.
    pub async fn make_code(
        &self,
        namespace: Option<&str>,
        name: &str,
        asked: &Value,
        by: &Maker<'_>,
    ) -> Answer<Operation> {
        let call = Call::of(&[name]).query("namespace", namespace).json(asked);
        self.value(Op::PutCode, by.put_into(call)).await
    }

    /// A code is taken away.
    ///
    /// # Errors
    /// As all calls.
    pub async fn delete_code(&self, namespace: Option<&str>, name: &str, rests: &Rests) -> Answer<Operation> {
        let call = Call::of(&[name]).query("namespace", namespace);
        self.value(Op::DeleteCode, rests.put_into(call)).await
    }

    /// A code is revoked; `running` says what that means for claims that have machines: `go_on` or `end`.
    ///
    /// # Errors
    /// As all calls.
    pub async fn revoke_code(&self, namespace: Option<&str>, name: &str, running: &str) -> Answer<Code> {
        let call = Call::of(&[name])
            .query("namespace", namespace)
            .query("running", Some(running));
        self.value(Op::RevokeCode, call).await
    }

    /// Operations, the newest first.
    ///
    /// # Errors
    /// As all calls.
    pub async fn operations(&self, page: &Page, state: Option<State>) -> Answer<List<Operation>> {
        let call = page.call().query("state", state.map(State::word));
        self.value(Op::ListOperations, call).await
    }

    /// An operation with its log.
    ///
    /// # Errors
    /// As all calls.
    pub async fn operation(&self, id: &str) -> Answer<Operation> {
        self.value(Op::ShowOperation, Call::of(&[id])).await
    }

    /// An operation is ended where it is.
    ///
    /// # Errors
    /// As all calls.
    pub async fn cancel(&self, id: &str) -> Answer<Operation> {
        self.value(Op::CancelOperation, Call::of(&[id])).await
    }

    /// What happens, after the event of that number, else from now on.
    ///
    /// # Errors
    /// As all calls.
    pub async fn events(&self, namespace: Option<&str>, after: Option<i64>) -> Answer<Events> {
        let call = Call::default()
            .query("namespace", namespace)
            .header(LAST_EVENT_ID, after);
        Ok(Events::new(self.send(Op::Events, call).await?))
    }

    /// What has happened after the event of that number, up to now.
    ///
    /// # Errors
    /// As all calls.
    pub async fn events_until_now(&self, namespace: Option<&str>, after: i64) -> Answer<Events> {
        let call = Call::default()
            .query("namespace", namespace)
            .query("after", Some(after))
            .query("until", Some("now"));
        Ok(Events::new(self.send(Op::Events, call).await?))
    }

    /// What is seen of machines, networks and hosts: any reading of theirs that is no list, as JSON.
    ///
    /// # Errors
    /// As all calls.
    pub async fn read<T: serde::de::DeserializeOwned>(&self, op: Op, call: Call) -> Answer<Answered<T>> {
        self.ask(op, call).await
    }

    /// Machines by host and name.
    ///
    /// # Errors
    /// As all calls.
    pub async fn vms(&self, namespace: Option<&str>) -> Answer<Vms> {
        self.value(Op::ListVms, Call::default().query("namespace", namespace))
            .await
    }

    /// A machine.
    ///
    /// # Errors
    /// As all calls.
    pub async fn vm(&self, namespace: Option<&str>, (host, name): (&str, &str)) -> Answer<Answered<Vm>> {
        self.ask(Op::ShowVm, Call::of(&[host, name]).query("namespace", namespace))
            .await
    }

    /// A machine is made or changed; `key` makes repeated requests one.
    ///
    /// # Errors
    /// As all calls.
    pub async fn put_vm(
        &self,
        namespace: Option<&str>,
        (host, name): (&str, &str),
        asked: &PutVm,
        (key, rests): (&str, &Rests),
    ) -> Answer<Operation> {
        let call = Call::of(&[host, name])
            .query("namespace", namespace)
            .header(IDEMPOTENCY_KEY, Some(key))
            .json(asked);
        self.value(Op::PutVm, rests.put_into(call)).await
    }

    /// A machine is removed.
    ///
    /// # Errors
    /// As all calls.
    pub async fn delete_vm(
        &self,
        namespace: Option<&str>,
        (host, name): (&str, &str),
        rests: &Rests,
    ) -> Answer<Operation> {
        let call = Call::of(&[host, name]).query("namespace", namespace);
        self.value(Op::DeleteVm, rests.put_into(call)).await
    }

    /// A machine's disk becomes an image.
    ///
    /// # Errors
    /// As all calls.
    pub async fn capture_vm(
        &self,
        namespace: Option<&str>,
        (host, name): (&str, &str),
        asked: &Capture,
    ) -> Answer<Operation> {
        let call = Call::of(&[host, name]).query("namespace", namespace);
        self.value(Op::CaptureVm, call.json(asked)).await
    }

    /// Captured images by namespace, name and revision.
    ///
    /// # Errors
    /// As all calls.
    pub async fn images(&self, namespace: Option<&str>) -> Answer<Images> {
        self.value(Op::ListImages, Call::default().query("namespace", namespace))
            .await
    }

    /// A revision of an image is removed.
    ///
    /// # Errors
    /// As all calls.
    pub async fn delete_image(&self, image: &Image) -> Answer<Operation> {
        let revision = image.revision.to_string();
        let call =
            Call::of(&[&image.host, &image.name, &revision]).query("namespace", Some(&image.namespace));
        self.value(Op::DeleteImage, call).await
    }

    /// Networks by host and name.
    ///
    /// # Errors
    /// As all calls.
    pub async fn networks(&self, namespace: Option<&str>) -> Answer<Networks> {
        self.value(Op::ListNetworks, Call::default().query("namespace", namespace))
            .await
    }

    /// A network.
    ///
    /// # Errors
    /// As all calls.
    pub async fn network(
        &self,
        namespace: Option<&str>,
        (host, name): (&str, &str),
    ) -> Answer<Answered<Network>> {
        self.ask(
            Op::ShowNetwork,
            Call::of(&[host, name]).query("namespace", namespace),
        )
        .await
    }

    /// Hosts by name.
    ///
    /// # Errors
    /// As all calls.
    pub async fn hosts(&self) -> Answer<List<Host>> {
        self.value(Op::ListHosts, Call::default()).await
    }

    /// A host is opened, cordoned or drained.
    ///
    /// # Errors
    /// As all calls.
    pub async fn wish(&self, name: &str, wish: Wish) -> Answer<Host> {
        self.value(Op::WishHost, Call::of(&[name]).json(&Wished { wish }))
            .await
    }

    /// What namespaces may have, and hold of it.
    ///
    /// # Errors
    /// As all calls.
    pub async fn quotas(&self, namespace: Option<&str>) -> Answer<List<Quota>> {
        let call = Call::default().query("namespace", namespace);
        self.value(Op::ListQuotas, call).await
    }

    /// Tokens by name.
    ///
    /// # Errors
    /// As all calls.
    pub async fn tokens(&self) -> Answer<List<Token>> {
        self.value(Op::ListTokens, Call::default()).await
    }

    /// A token is made.
    ///
    /// # Errors
    /// As all calls.
    pub async fn make_token(&self, asked: &NewToken) -> Answer<MadeToken> {
        self.value(Op::MakeToken, Call::default().json(asked)).await
    }

    /// The token of a person who signed in.
    ///
    /// # Errors
    /// As all calls.
    pub async fn sign_in(&self, ticket: &Ticket) -> Answer<MadeToken> {
        self.value(Op::LoginToken, Call::default().json(ticket)).await
    }

    /// A token is revoked.
    ///
    /// # Errors
    /// As all calls.
    pub async fn revoke_token(&self, name: &str) -> Answer<Token> {
        self.value(Op::RevokeToken, Call::of(&[name])).await
    }

    /// The numbers for Prometheus.
    ///
    /// # Errors
    /// As all calls.
    pub async fn metrics(&self) -> Answer<String> {
        let body = whole(self.send(Op::Metrics, Call::default()).await?).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }
}
