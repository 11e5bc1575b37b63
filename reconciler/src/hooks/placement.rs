//! The hooks around the choice of a host, for a machine that names none. Nothing of it stands yet, so nobody could tell
//! afterwards that they were asked: they decide, and acquire nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use labyard_driver::ids::HostName;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::answer::{self, Answer, Set};
use super::request::{Of, Request, request};
use super::{Event, Failure, Hook, Moment, OnError, When, call};
use crate::desired::DesiredMachine;
use crate::engine::{Deps, describe};
use crate::error::{EngineError, HookTrouble};
use crate::journal::What;
use crate::journal::subject::Subject;

/// What each configured host says to the machine: it could take it, or why not.
pub(crate) type Hosts = BTreeMap<HostName, Result<(), String>>;

/// The choice of a host for one machine.
pub(crate) struct Placement<'a> {
    pub(crate) deps: &'a Arc<Deps>,
    pub(crate) cancel: &'a CancellationToken,
    pub(crate) deadline: Instant,
    /// An id of this choice.
    pub(crate) operation: String,
}

fn moment(when: When) -> Moment {
    Moment {
        when,
        stage: labyard_schema::hooks::PLACEMENT,
    }
}

impl Placement<'_> {
    /// Whether anybody is asked before.
    pub(crate) fn asks_before(&self) -> bool {
        self.deps.hooks.at(moment(When::Before), Event::Create).is_some()
    }

    /// The host that the operator wants, if it says so.
    pub(crate) async fn before(
        &self,
        desired: &DesiredMachine,
        hosts: &Hosts,
    ) -> Result<Option<HostName>, EngineError> {
        let mut request = self.request(desired, None, When::Before);
        let fit = hosts.iter().filter(|(_, fits)| fits.is_ok());
        request.candidates = fit.map(|(host, _)| host.to_string()).collect();
        self.ask(desired, request, When::Before, |set| wanted(set, hosts))
            .await
    }

    /// Tells of the host that was chosen; the operator may still deny it.
    pub(crate) async fn after(&self, desired: &DesiredMachine, host: &HostName) -> Result<(), EngineError> {
        let request = self.request(desired, Some(host), When::After);
        let same = |set: &Set| same(set, host).map(|()| None);
        self.ask(desired, request, When::After, same).await.map(drop)
    }

    /// Writes down that a host was chosen.
    pub(crate) fn chosen(&self, desired: &DesiredMachine, took: std::time::Duration) {
        Subject::of_placement(self.deps, desired, &self.operation).write(What::Done, 1, Some(took), None);
    }

    fn request(&self, desired: &DesiredMachine, host: Option<&HostName>, when: When) -> Request {
        let of = Of::Planned(host);
        request(desired, of, Event::Create, &self.operation, moment(when))
    }

    async fn ask(
        &self,
        desired: &DesiredMachine,
        mut request: Request,
        when: When,
        take: impl Fn(&Set) -> Result<Option<HostName>, String>,
    ) -> Result<Option<HostName>, EngineError> {
        let Some(hook) = self.deps.hooks.at(moment(when), Event::Create) else {
            return Ok(None);
        };
        let began = Instant::now();
        let subject = Subject::of_placement(self.deps, desired, &self.operation);
        let asking = Asking {
            subject: subject.at_hook(moment(when).to_string()),
            what: describe(labyard_driver::mark::Kind::Machine, desired.name.as_str()),
            hook,
            when,
        };
        loop {
            asking.subject.write(What::HookAsked, request.attempt, None, None);
            let (attempt, answered) = (request.attempt, self.answer(hook, &mut request).await);
            let why = match answered.map_err(|ended| asking.ended(ended))? {
                Ok(Answer::Go) => {
                    asking.heard(attempt, began);
                    return Ok(None);
                }
                Ok(Answer::Set(set)) => match take(&set) {
                    Ok(host) => {
                        asking.heard(attempt, began);
                        return Ok(host);
                    }
                    Err(why) => why,
                },
                Ok(Answer::Deny { reason }) => {
                    return Err(asking.trouble(attempt, HookTrouble::Denied { reason }));
                }
                Ok(Answer::Hold { retry_after, reason }) => {
                    let holds = Some(reason.clone());
                    asking.subject.write(What::HookHolds, attempt, None, holds);
                    if Instant::now() + retry_after >= self.deadline {
                        let waited = began.elapsed();
                        return Err(asking.trouble(attempt, HookTrouble::Held { reason, waited }));
                    }
                    tokio::select! {
                        () = sleep(retry_after) => {}
                        () = self.cancel.cancelled() => return Err(asking.ended(CANCELLED)),
                    }
                    request.attempt += 1;
                    continue;
                }
                Err(why) => why,
            };
            return asking.without(attempt, why);
        }
    }

    /// The answer, or why there is none; an error where the run or its time ends.
    async fn answer(
        &self,
        hook: &Hook,
        request: &mut Request,
    ) -> Result<Result<Answer, String>, &'static str> {
        let caller = self.deps.hooks.caller.clone();
        let answer = tokio::select! {
            answer = call::answered(caller.as_ref(), hook, request) => answer,
            () = self.cancel.cancelled() => return Err(CANCELLED),
            () = sleep_until(self.deadline) => return Err("the time given was over (timeouts)"),
        };
        Ok(answer
            .map_err(|failure: Failure| failure.why().to_owned())
            .and_then(|bytes| answer::read(&bytes)))
    }
}

const CANCELLED: &str = "stopped as asked; nothing was made";

struct Asking<'a> {
    subject: Subject,
    what: String,
    hook: &'a Hook,
    when: When,
}

impl Asking<'_> {
    fn ended(&self, why: &str) -> EngineError {
        EngineError::NoHost {
            what: self.what.clone(),
            reasons: format!("{why} while hook {} was asked", moment(self.when)),
        }
    }

    fn heard(&self, attempt: u32, began: Instant) {
        let took = Some(began.elapsed());
        self.subject.write(What::HookAnswered, attempt, took, None);
    }

    fn trouble(&self, attempt: u32, trouble: HookTrouble) -> EngineError {
        let why = Some(trouble.to_string());
        self.subject.write(What::HookFailed, attempt, None, why);
        EngineError::Placement {
            what: self.what.clone(),
            hook: moment(self.when).to_string(),
            trouble,
        }
    }

    fn without(&self, attempt: u32, why: String) -> Result<Option<HostName>, EngineError> {
        match self.hook.on_error {
            OnError::Continue => {
                tracing::warn!(machine = self.what, hook = %moment(self.when), why, "going on without the hook");
                self.subject.write(What::HookMissed, attempt, None, Some(why));
                Ok(None)
            }
            OnError::Fail => Err(self.trouble(attempt, HookTrouble::Failed { why })),
        }
    }
}

/// The host that an answer wants: one of the provider's that takes the machine.
fn wanted(set: &Set, hosts: &Hosts) -> Result<Option<HostName>, String> {
    only_host(set, When::Before)?;
    let Some(host) = &set.host else { return Ok(None) };
    let host = HostName(host.clone());
    match hosts.get(&host) {
        Some(Ok(())) => Ok(Some(host)),
        Some(Err(why)) => Err(format!(
            "it wants host {host}, which does not take the machine: {why}"
        )),
        None => {
            let known: Vec<_> = hosts.keys().map(HostName::as_str).collect();
            let known = known.join(", ");
            Err(format!("it wants host {host}, and the provider knows {known}"))
        }
    }
}

/// After the choice an answer can only agree with it.
fn same(set: &Set, chosen: &HostName) -> Result<(), String> {
    only_host(set, When::After)?;
    match &set.host {
        Some(host) if host != chosen.as_str() => Err(format!(
            "it wants host {host:?}, and {chosen} is chosen: answer the host at before:placement, or deny"
        )),
        _ => Ok(()),
    }
}

fn only_host(set: &Set, when: When) -> Result<(), String> {
    let host = Set {
        host: set.host.clone(),
        ..Set::default()
    };
    match *set == host {
        true => Ok(()),
        false => Err(format!(
            "it supplies more than a host, which {} cannot take",
            moment(when)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(host: &str) -> Set {
        Set {
            host: Some(host.to_owned()),
            ..Set::default()
        }
    }

    #[test]
    fn a_host_is_taken_that_is_known_and_takes_the_machine() {
        let hosts = Hosts::from([
            ("lab1".into(), Ok(())),
            ("lab2".into(), Err("it is cordoned".to_owned())),
        ]);
        assert_eq!(wanted(&set("lab1"), &hosts), Ok(Some("lab1".into())));
        assert_eq!(wanted(&Set::default(), &hosts), Ok(None));
        assert!(wanted(&set("lab2"), &hosts).unwrap_err().contains("cordoned"));
        assert!(wanted(&set("lab3"), &hosts).unwrap_err().contains("lab1, lab2"));
    }

    #[test]
    fn what_belongs_to_a_machine_that_stands_is_not_taken_before_it_does() {
        let more = Set {
            hostname: Some("web".to_owned()),
            ..set("lab1")
        };
        let hosts = Hosts::from([("lab1".into(), Ok(()))]);
        assert!(wanted(&more, &hosts).unwrap_err().contains("more than a host"));
        assert!(same(&more, &"lab1".into()).is_err());
    }

    #[test]
    fn after_the_choice_an_answer_agrees_or_is_refused() {
        assert_eq!(same(&set("lab1"), &"lab1".into()), Ok(()));
        assert!(
            same(&set("lab2"), &"lab1".into())
                .unwrap_err()
                .contains("before:placement")
        );
    }
}
