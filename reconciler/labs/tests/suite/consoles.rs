//! Machines that are typed into by their console.

use crate::lab::*;
use labyard_labs::{
    Refusal,
    claim::serve,
    console::{self, Held, Machine, Standing},
    ids::MemberId,
};
use labyard_store::{
    Store, StoreError,
    event::{Event, Moment},
    on_both,
    testing::Database,
};

on_both!(
    a_claimed_machine_that_was_typed_into_is_used_and_not_given_on_as_it_is,
    a_machine_without_a_user_is_not_typed_into_and_nothing_is_written,
    an_open_console_keeps_its_claim_from_idling_and_ends_with_it,
    a_machine_that_failed_is_looked_into_until_it_is_worked_on_again,
);

fn machine(id: &MemberId) -> Machine {
    Machine {
        namespace: namespace(),
        subject: format!("vm/lab1/{id}"),
        member: Some(("k8s".into(), id.clone())),
    }
}

async fn begun(store: &Store, id: &MemberId, now: i64) -> Result<Option<Held>, Refusal> {
    let machine = machine(id);
    store
        .write(move |write| console::begin(write, &machine, "root", Moment(now)))
        .await
}

async fn standing(store: &Store, held: &Held, now: i64) -> Standing {
    let held = held.clone();
    let standing: Result<_, Refusal> = store
        .read(move |read| console::standing(read, &held, Moment(now)))
        .await;
    standing.unwrap()
}

const TOUCHED: &str = "SELECT COUNT(*) AS n FROM members WHERE touched = 1";
const TYPED: &str = "SELECT COUNT(*) AS n FROM events WHERE action = 'vm.console' AND actor = 'root'";

/// Nobody was told how to enter the machines: the console alone makes the one used that it is of.
async fn a_claimed_machine_that_was_typed_into_is_used_and_not_given_on_as_it_is(database: &Database) {
    let store = database.open().await;
    pool(&store, "k8s", 2).await;
    code(&store, terms(&[("k8s", 2)])).await;
    let claim = redeemed(&store, request("ada", "ada"), 0).await.unwrap().claim;
    assert_eq!(number(&store, TOUCHED).await, 0);
    let held = begun(&store, &claim.machines[0], 1).await.unwrap();
    assert!(held.is_some());
    assert_eq!(
        (number(&store, TOUCHED).await, number(&store, TYPED).await),
        (1, 1)
    );
    released(&store, &claim.id, 2).await.unwrap();
    let used = "SELECT COUNT(*) AS n FROM members WHERE state = 'recycling' AND touched = 1";
    assert_eq!(
        number(&store, used).await,
        1,
        "it is brought back as one that was used"
    );
    assert_sound(&store).await;
}

async fn a_machine_without_a_user_is_not_typed_into_and_nothing_is_written(database: &Database) {
    let store = database.open().await;
    pool(&store, "k8s", 1).await;
    for id in ["k8s-1", "of-another-store"] {
        let refused = begun(&store, &MemberId(id.to_owned()), 1).await.unwrap_err();
        assert!(matches!(refused, Refusal::NobodysNow { .. }), "{refused}");
        assert_eq!(refused.type_name(), "pool-member");
    }
    assert_eq!(
        (number(&store, TOUCHED).await, number(&store, TYPED).await),
        (0, 0)
    );
    let alone = Machine {
        member: None,
        ..machine(&MemberId("web".to_owned()))
    };
    let begun: Result<_, Refusal> = store
        .write(move |write| console::begin(write, &alone, "root", Moment(1)))
        .await;
    assert_eq!(begun.unwrap(), None, "a machine of no pool is nobody else's");
    assert_eq!(number(&store, TYPED).await, 1);
}

async fn an_open_console_keeps_its_claim_from_idling_and_ends_with_it(database: &Database) {
    let store = database.open().await;
    pool(&store, "k8s", 1).await;
    code(&store, terms(&[("k8s", 1)])).await;
    let claim = redeemed(&store, request("ada", "ada"), 0).await.unwrap().claim;
    let held = begun(&store, &claim.machines[0], 1).await.unwrap().unwrap();
    assert_eq!(standing(&store, &held, HOUR / 2 - 1).await, Standing::Same);
    let unseen = standing(&store, &held, HOUR / 2).await;
    assert_eq!(unseen, Standing::Unseen(claim.id.clone()));
    let id = claim.id.clone();
    let told: Result<(), Refusal> = store
        .write(move |write| serve::connected(write, &id, Moment(HOUR / 2)))
        .await;
    told.unwrap();
    assert_eq!(standing(&store, &held, HOUR / 2).await, Standing::Same);
    assert!(expired(&store, HOUR + 1).await.is_empty(), "he was there");
    released(&store, &claim.id, HOUR + 2).await.unwrap();
    assert_eq!(standing(&store, &held, HOUR + 3).await, Standing::Over);
}

async fn a_machine_that_failed_is_looked_into_until_it_is_worked_on_again(database: &Database) {
    let store = database.open().await;
    pool(&store, "k8s", 1).await;
    now_in(&store, "failed").await;
    let held = begun(&store, &MemberId("k8s-1".to_owned()), 1)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(standing(&store, &held, HOUR).await, Standing::Same);
    assert_eq!(
        number(&store, TOUCHED).await,
        1,
        "it is not brought back as one that nobody was in"
    );
    now_in(&store, "recycling").await;
    assert_eq!(standing(&store, &held, HOUR).await, Standing::Over);
}

/// The machine is brought to a state.
async fn now_in(store: &Store, state: &'static str) {
    let done: Result<(), StoreError> = store
        .write(move |write| {
            write.execute("UPDATE members SET state = $1", &[state.into()])?;
            let event = Event::new(Moment(0), "default", "test", "machine.changed", "all");
            write.event(&event).map(drop)
        })
        .await;
    done.unwrap();
}
