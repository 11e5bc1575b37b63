//! What is shown of pools, codes and claims.

use crate::lab::{CODE, HOUR, code, namespace, pool, redeemed, request, terms, waiting};
use labyard_labs::{
    Refusal,
    member::State,
    show::{self, Scope, Sought},
};
use labyard_store::{event::Moment, on_both, testing::Database};

on_both!(
    counts_uses_and_queues_are_shown,
    claims_are_listed_newest_first_and_page_by_page,
    nothing_of_another_namespace_is_shown,
);

async fn counts_uses_and_queues_are_shown(database: &Database) {
    let store = database.open().await;
    pool(&store, "k8s", 1).await;
    code(&store, terms(&[("k8s", 1)])).await;
    redeemed(&store, request("ada", "a"), 0).await.unwrap();
    let queued = redeemed(&store, waiting("ben", "b", HOUR), 0)
        .await
        .unwrap()
        .claim;
    let last = redeemed(&store, waiting("cleo", "c", HOUR), 0)
        .await
        .unwrap()
        .claim;
    let shown: Result<_, Refusal> = store
        .read(move |read| {
            Ok((
                show::pool(read, &namespace(), &"k8s".into())?,
                show::pools(read, &Scope::All)?,
                show::place(read, &queued)?,
                show::place(read, &last)?,
                show::codes(read, &Scope::All)?,
            ))
        })
        .await;
    let (one, all, first, second, codes) = shown.unwrap();
    assert_eq!(one.counts.get(&State::Claimed), Some(&1));
    assert_eq!((one.waiting, all), (2, vec![one]));
    // The one lease that runs is over when nobody was seen for an hour.
    assert_eq!((first.position, first.at), (1, Some(Moment(HOUR))));
    assert_eq!((second.position, second.at), (2, None));
    let uses: Vec<_> = codes[0].1.values.values().map(|value| value.uses).collect();
    assert_eq!((uses, codes[0].1.running()), (vec![3], 3));
    assert!(!format!("{codes:?}").contains(CODE));
}

async fn claims_are_listed_newest_first_and_page_by_page(database: &Database) {
    let store = database.open().await;
    pool(&store, "k8s", 5).await;
    code(&store, terms(&[("k8s", 1)])).await;
    for user in ["ada", "ben", "cleo"] {
        redeemed(&store, request(user, user), 0).await.unwrap();
    }
    let mut sought = Sought {
        scope: Scope::All,
        phase: None,
        before: None,
        limit: 2,
    };
    let mut users = Vec::new();
    loop {
        let asked = sought.clone();
        let page = store.read(move |read| show::claims(read, &asked)).await.unwrap();
        let Some(last) = page.last() else { break };
        sought.before = Some(last.place);
        users.extend(page.iter().map(|claim| claim.user.to_string()));
    }
    assert_eq!(users, ["cleo", "ben", "ada"]);
}

async fn nothing_of_another_namespace_is_shown(database: &Database) {
    let store = database.open().await;
    pool(&store, "k8s", 1).await;
    code(&store, terms(&[("k8s", 1)])).await;
    redeemed(&store, request("ada", "a"), 0).await.unwrap();
    for (scope, found) in [
        (Scope::These(vec!["physics".into()]), 0),
        (Scope::These(vec![]), 0),
        (Scope::These(vec!["physics".into(), "default".into()]), 1),
    ] {
        let sought = Sought {
            scope: scope.clone(),
            phase: None,
            before: None,
            limit: 9,
        };
        let shown: Result<_, Refusal> = store
            .read(move |read| {
                Ok([
                    show::pools(read, &scope)?.len(),
                    show::codes(read, &scope)?.len(),
                    show::claims(read, &sought)?.len(),
                ])
            })
            .await;
        assert_eq!(shown.unwrap(), [found; 3]);
    }
}
