//! What Terraform calls for a machine.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use labyard_driver::ids::{HostName, NicKey, ObjectName, PoolName};
use labyard_driver::observed::{HostFacts, Room};
use labyard_reconciler::EngineError;
use labyard_reconciler::derived::Taken;
use labyard_reconciler::desired::{DesiredMachine, Planned, Wishes};
use labyard_reconciler::engine::{Bounds, ObjectRef, Reading, Reserve, Want};
use labyard_reconciler::hooks::may_supply_addresses;
use labyard_reconciler::identity::Identity;
use labyard_reconciler::steps::Progress;
use labyard_reconciler::view::{MachineView, SeedView};
use labyard_schema::text::Span;
use labyard_schema::vm::Vm;
use tfplugin::schema::Schema;
use tfplugin::value::{Path, Value};
use tfplugin::{ApplyRequest, Context, Diagnostics, Plan, Resource, Saver, State};

use super::plan::Where;
use super::state::{ABSENT, first_ip, refreshed};
use super::{addressing, advice, host_files, import, kit, plan as planning, room, takeover};
use crate::private::Private;
use crate::provider::{self, Configured, Shared};
use crate::{errors, shape, values};

const CREATE: Duration = Duration::from_secs(30 * 60);
const UPDATE: Duration = Duration::from_secs(30 * 60);
const DELETE: Duration = Duration::from_secs(10 * 60);

/// `labyard_vm`.
pub struct Machines {
    schema: Schema,
    shared: Arc<Shared>,
}

impl Machines {
    /// The resource of a provider.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self {
            schema: shape::schema::<Vm>(0),
            shared,
        }
    }
}

/// What the machine of a plan can take without a restart: what tells a change of a running machine from a restart.
async fn room_while_running(
    plan: &Plan,
    context: &provider::Context,
    diags: &mut Diagnostics,
) -> Option<Room> {
    let prior: Vm = values::known(&plan.prior, diags)?;
    if plan.prior == plan.planned || prior.power != "running" {
        return None;
    }
    let object = reference(context, &prior, &plan.prior_private);
    // Where it cannot be told the plan speaks of a restart, and the apply looks for itself.
    context.engine.room(&object).await.unwrap_or_default()
}

fn reference(context: &provider::Context, state: &Vm, private: &[u8]) -> ObjectRef {
    let pools = state.disks.iter().flatten();
    let pools = pools.filter_map(|(_, disk)| disk.storage_pool.clone().map(PoolName));
    ObjectRef {
        pools: pools.collect(),
        ..context.reference(state.host.as_deref(), &state.name, state.id.as_deref(), private)
    }
}

/// What is kept beside the state of a machine as it is.
fn private_of(view: &MachineView, fallback: Option<&Identity>) -> Vec<u8> {
    let serial = view.wishes.serial.clone();
    Private::of_machine(view.identity().or(fallback), serial).to_bytes()
}

/// A machine as its state has it; a NIC whose MAC is not there is none.
fn known(context: &provider::Context, prior: &Vm, diags: &mut Diagnostics) -> Option<DesiredMachine> {
    let macs = prior.macs.clone().unwrap_or_default();
    let mut prior = prior.clone();
    if let Some(nics) = &mut prior.nics {
        nics.retain(|key, nic| nic.mac.is_some() || macs.contains_key(key));
    }
    let digests = prior.image_digests.clone().unwrap_or_default();
    match DesiredMachine::from_config(&context.namespace, &prior, &macs, &digests) {
        Ok(known) => Some(known),
        Err(unusable) => {
            errors::report(&unusable.into(), "Unreadable state", diags);
            None
        }
    }
}

fn bounds(ctx: &Context, written: Option<&Span>, fallback: Duration) -> Bounds {
    Bounds {
        reserve: Reserve::Named,
        fence: None,
        cancel: ctx.cancel.clone(),
        limit: Span::or(written, fallback),
    }
}

/// The planned state with everything that is known by now: what Terraform stores whatever happens next.
fn reached(planned: &Value, host: &HostName, progress: &Progress) -> State {
    let mut value = planned.clone();
    if planned.field("host").is_unknown() {
        values::put(&mut value, "host", host.as_str());
    }
    values::put(&mut value, "id", progress.identity.id.as_str());
    let macs = progress
        .mark
        .nics
        .iter()
        .map(|(key, nic)| (key.to_string(), Value::from(nic.mac.to_string())));
    if !planned.field("macs").is_null() {
        values::put(&mut value, "macs", Value::Keyed(macs.collect()));
    }
    let digests = progress.mark.disks.iter().filter_map(|(key, disk)| {
        let seen = disk.image.as_ref()?.digest.as_ref()?;
        Some((key.to_string(), Value::from(seen.as_str())))
    });
    if !planned.field("image_digests").is_null() {
        values::put(&mut value, "image_digests", Value::Keyed(digests.collect()));
    }
    if planned.field("ip").is_unknown() {
        let mark = &progress.mark;
        let first = mark.nics.iter().next();
        let reserved =
            first.and_then(|(key, nic)| nic.reserved.or_else(|| mark.hooks.addresses.get(key).copied()));
        values::put(
            &mut value,
            "ip",
            first_ip(&progress.seen, reserved).map_or(Value::Null, Value::from),
        );
    }
    let media = progress.mark.media.iter().filter_map(|(key, drive)| {
        let seen = drive.image.as_ref()?.digest.as_ref()?;
        Some((key.to_string(), Value::from(seen.as_str())))
    });
    if !planned.field("media_digests").is_null() {
        values::put(&mut value, "media_digests", Value::Keyed(media.collect()));
    }
    if planned.field("serial").is_unknown() {
        let serial = Wishes::from_mark(&progress.mark).serial;
        values::put(&mut value, "serial", serial.map_or(Value::Null, Value::from));
    }
    let serial = value.field("serial").as_str().map(str::to_owned);
    let private = Private::of_machine(Some(&progress.identity), serial).to_bytes();
    State {
        value: values::without_unknowns(&value),
        private,
    }
}

/// A machine as it is planned, with the secrets of the configuration.
fn planned_vm(request: &ApplyRequest, diags: &mut Diagnostics) -> Option<Vm> {
    let mut vm: Vm = values::known(&request.planned, diags)?;
    let written: Vm = values::known(&request.config, diags)?;
    with_secrets(&mut vm, written);
    shape::report(vm.problems(), diags);
    (!diags.has_errors()).then_some(vm)
}

/// Whether the serial number is still to be derived.
fn unnumbered(request: &ApplyRequest, vm: &Vm) -> bool {
    vm.serial.is_none() && request.planned.field("serial").is_unknown()
}

/// What is desired on a host; MACs and the serial number that were not planned are derived of its id.
fn desired_on(
    context: &provider::Context,
    request: &ApplyRequest,
    vm: &Vm,
    on: Option<(&HostFacts, &Taken)>,
) -> Result<DesiredMachine, EngineError> {
    let mut vm = vm.clone();
    let mut macs = vm.macs.clone().unwrap_or_default();
    let keys = vm.nics.iter().flatten().map(|(key, _)| NicKey(key.clone()));
    let open: Vec<_> = keys.filter(|key| !macs.contains_key(key.as_str())).collect();
    if let Some((facts, taken)) = on {
        let name = ObjectName(vm.name.clone());
        for key in &open {
            let mac = taken.mac(&facts.uuid, &context.namespace, &name, key);
            macs.insert(key.to_string(), mac.to_string());
        }
        if unnumbered(request, &vm) {
            vm.serial = Some(taken.serial(&facts.uuid, &context.namespace, &name));
        }
    }
    let digests = vm.image_digests.clone().unwrap_or_default();
    let mut desired = DesiredMachine::from_config(&context.namespace, &vm, &macs, &digests)?;
    desired.planned = Planned {
        open_macs: open.into_iter().collect(),
        ip: vm.ip.as_deref().and_then(|ip| ip.parse().ok()),
    };
    Ok(desired)
}

/// A host and what its other machines have: what a machine's MACs and serial number are derived of.
async fn known_of(
    context: &provider::Context,
    host: &HostName,
    name: &str,
) -> Result<(HostFacts, Taken), EngineError> {
    let facts = context.engine.facts(host).await?;
    let name = ObjectName(name.to_owned());
    let taken = context.engine.taken(host, &context.namespace, &name).await?;
    Ok((facts, taken))
}

impl Machines {
    /// What is desired, with the secrets of the configuration and with MACs for NICs whose host was not known when
    /// it was planned.
    async fn desired(
        &self,
        context: &provider::Context,
        request: &ApplyRequest,
        diags: &mut Diagnostics,
    ) -> Option<(HostName, DesiredMachine)> {
        let vm = planned_vm(request, diags)?;
        let host = match &vm.host {
            Some(host) => HostName(host.clone()),
            None => context.engine.hosts().into_iter().next()?,
        };
        let open = vm.nics.iter().flatten().count() > vm.macs.iter().flatten().count();
        let on = match open || unnumbered(request, &vm) {
            true => match known_of(context, &host, &vm.name).await {
                Ok(on) => Some(on),
                Err(error) => {
                    errors::report(&error, "Host not readable", diags);
                    return None;
                }
            },
            false => None,
        };
        let on = on.as_ref().map(|(facts, taken)| (facts, taken));
        match desired_on(context, request, &vm, on) {
            Ok(desired) => Some((host, desired)),
            Err(error) => {
                errors::report(&error, "Unusable value", diags);
                None
            }
        }
    }

    /// A protected machine is not destroyed. One whose creation never came to its end is not bound: its mark tells.
    async fn plan_destroy(&self, plan: &Plan, diags: &mut Diagnostics) {
        let (Some(prior), Configured::Now(context)) =
            (values::known::<Vm>(&plan.prior, diags), self.shared.configured())
        else {
            return;
        };
        if !prior.deletion_protection {
            return;
        }
        let object = reference(&context, &prior, &plan.prior_private);
        let protected = match context.engine.read_machine(&object).await {
            Ok(Reading::Present(view)) => view.wishes.deletion_protection,
            Ok(Reading::Gone) => false,
            Ok(Reading::DisksOnly) | Err(_) => true,
        };
        if protected {
            planning::refuse_protected("labyard_vm", &prior.name, "destroys", diags);
        }
    }

    /// Makes a machine that names no host wherever there is room for it.
    async fn place(
        &self,
        ctx: &Context,
        (context, request): (&provider::Context, &ApplyRequest),
        saver: &Saver,
        diags: &mut Diagnostics,
    ) {
        let Some(vm) = planned_vm(request, diags) else {
            return;
        };
        let want = Want::of(&context.namespace, &vm, None);
        let limit = vm.timeouts.as_ref().and_then(|t| t.create.clone());
        let bounds = bounds(ctx, limit.as_ref(), CREATE);
        let desired =
            |facts: &HostFacts, taken: &Taken| desired_on(context, request, &vm, Some((facts, taken)));
        let report = |host: &HostName, progress: &Progress| {
            saver.save(reached(&request.planned, host, progress));
        };
        let placed = context
            .engine
            .place_machine(&want, &desired, bounds, &report)
            .await;
        if let Err(error) = placed {
            errors::report(&error, "Machine not created", diags);
        }
    }

    /// After a failed change the state is what the host shows now.
    async fn save_what_is(&self, context: &provider::Context, request: &ApplyRequest, saver: &Saver) {
        let mut quiet = Diagnostics::default();
        let Some(prior) = values::known::<Vm>(&request.prior, &mut quiet) else {
            return;
        };
        let private = saver
            .last()
            .map_or_else(|| request.private.clone(), |state| state.private);
        let object = reference(context, &prior, &private);
        if let Ok(Reading::Present(view)) = context.engine.read_machine(&object).await
            && let Some(value) = values::whole(&refreshed(&prior, &view), &self.schema, &mut quiet)
        {
            saver.save(State {
                value,
                private: private_of(&view, None),
            });
        } else {
            saver.save(State {
                value: request.prior.clone(),
                private,
            });
        }
    }
}

#[async_trait]
impl Resource for Machines {
    fn type_name(&self) -> &str {
        "labyard_vm"
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    async fn validate(&self, config: &Value, diags: &mut Diagnostics) {
        shape::check::<Vm>(config, diags);
        if !diags.has_errors()
            && config.is_wholly_known()
            && let Some(vm) = values::known::<Vm>(&with_defaults(config), diags)
        {
            shape::report(vm.problems(), diags);
        }
    }

    async fn plan(&self, _ctx: &Context, plan: &mut Plan, diags: &mut Diagnostics) {
        if plan.planned.is_null() {
            return self.plan_destroy(plan, diags).await;
        }
        let Configured::Now(context) = self.shared.configured() else {
            return planning::settle(plan, None);
        };
        let place = planning::machine_host(plan, &context, diags);
        if diags.has_errors() {
            return;
        }
        let name = plan.planned.field("name").as_str().unwrap_or_default().to_owned();
        let known = match &place {
            Where::On(host) => match known_of(&context, host, &name).await {
                Ok(known) => Some(known),
                Err(error) => return errors::report(&error, "Host not readable", diags),
            },
            Where::Later | Where::Anywhere => None,
        };
        let facts = known.as_ref().map(|(facts, _)| facts);
        let on = known.as_ref().map(|(facts, taken)| planning::On {
            namespace: &context.namespace,
            facts,
            taken,
        });
        planning::settle(plan, on);
        if plan.prior.is_null() && may_supply_addresses(context.hooks.iter().map(String::as_str)) {
            planning::leave_macs_open(plan);
        }
        if let (Some(facts), Where::On(host)) = (facts, &place) {
            let offers = match planning::asks_offers(plan) {
                true => match context.engine.offers(host).await {
                    Ok(offers) => Some(offers),
                    Err(error) => return errors::report(&error, "Host not readable", diags),
                },
                false => None,
            };
            planning::check_host(plan, facts, offers.as_ref(), diags);
        }
        advice::advise(plan, diags);
        if !plan.prior.is_null() {
            let seen = planning::Seen {
                seed: seed_there(plan, &context).await,
                room: room_while_running(plan, &context, diags).await,
            };
            planning::compare(plan, &context, seen, diags);
            if let Some(prior) = values::known::<Vm>(&plan.prior, diags) {
                let object = reference(&context, &prior, &plan.prior_private);
                room::same_pools(&object, plan, &context, diags).await;
                if prior.owned == Some(false) {
                    takeover::check(&object, &context, diags).await;
                }
            }
        }
        match &place {
            Where::On(host) => room::on(host, plan, &context, diags).await,
            Where::Anywhere => {
                room::somewhere(plan, &context, diags).await;
                host_files::check_anywhere(plan, &context, diags).await;
            }
            Where::Later => {}
        }
        addressing::settle(plan);
        if let Where::On(host) = &place {
            addressing::check(plan, &context, host, diags).await;
            host_files::check(host, plan, &context, diags).await;
            kit::check_drives(plan, &context, host, diags).await;
        }
    }

    async fn create(&self, ctx: &Context, request: ApplyRequest, saver: &Saver, diags: &mut Diagnostics) {
        let Some(context) = self.shared.context(diags) else {
            return;
        };
        if request.planned.field("host").as_str().is_none() && context.engine.hosts().len() > 1 {
            return self.place(ctx, (&context, &request), saver, diags).await;
        }
        let Some((host, desired)) = self.desired(&context, &request, diags).await else {
            return;
        };
        let limit = desired.wishes.timeouts.as_ref().and_then(|t| t.create.clone());
        let bounds = bounds(ctx, limit.as_ref(), CREATE);
        let report = |progress: &Progress| saver.save(reached(&request.planned, &host, progress));
        if let Err(error) = context
            .engine
            .create_machine(&host, &desired, bounds, &report)
            .await
        {
            errors::report(&error, "Machine not created", diags);
        }
    }

    async fn update(&self, ctx: &Context, request: ApplyRequest, saver: &Saver, diags: &mut Diagnostics) {
        let Some(context) = self.shared.context(diags) else {
            return;
        };
        let Some((_, desired)) = self.desired(&context, &request, diags).await else {
            return;
        };
        let Some(prior) = values::known::<Vm>(&request.prior, diags) else {
            return;
        };
        let object = reference(&context, &prior, &request.private);
        let Some(known) = known(&context, &prior, diags) else {
            return;
        };
        let limit = desired.wishes.timeouts.as_ref().and_then(|t| t.update.clone());
        let bounds = bounds(ctx, limit.as_ref(), UPDATE);
        let last = std::sync::Mutex::new(None);
        let report = |progress: &Progress| {
            // Only who it is: what it has become is read when it has become it.
            let serial = Private::parse(&request.private).serial;
            let private = Private::of_machine(Some(&progress.identity), serial).to_bytes();
            saver.save(State {
                value: request.prior.clone(),
                private,
            });
            *last.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(progress.clone());
        };
        let result = context
            .engine
            .update_machine(&object, &known, &desired, bounds, &report)
            .await;
        let progress = last
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        match (result, progress) {
            (Ok(_), Some(progress)) => saver.save(reached(&request.planned, &object.host, &progress)),
            (Ok(_), None) => {}
            (Err(error), _) => {
                errors::report(&error, "Machine not changed", diags);
                self.save_what_is(&context, &request, saver).await;
            }
        }
    }

    async fn delete(&self, ctx: &Context, request: ApplyRequest, _saver: &Saver, diags: &mut Diagnostics) {
        let Some(context) = self.shared.context(diags) else {
            return;
        };
        let Some(prior) = values::known::<Vm>(&request.prior, diags) else {
            return;
        };
        let object = reference(&context, &prior, &request.private);
        let Some(known) = known(&context, &prior, diags) else {
            return;
        };
        let limit = prior.timeouts.as_ref().and_then(|t| t.delete.clone());
        let bounds = bounds(ctx, limit.as_ref(), DELETE);
        if let Err(error) = context.engine.destroy_machine(&object, &known, bounds).await {
            errors::report(&error, "Machine not destroyed", diags);
        }
    }

    async fn read(&self, _ctx: &Context, prior: State, diags: &mut Diagnostics) -> Option<State> {
        let Configured::Now(context) = self.shared.configured() else {
            return Some(prior);
        };
        let known: Vm = values::known(&prior.value, diags)?;
        let object = reference(&context, &known, &prior.private);
        let (state, private) = match context.engine.read_machine(&object).await {
            Ok(Reading::Present(view)) => {
                let private = private_of(&view, object.identity.as_ref());
                (refreshed(&known, &view), private)
            }
            Ok(Reading::DisksOnly) => (
                Vm {
                    power: ABSENT.to_owned(),
                    ..known
                },
                prior.private,
            ),
            Ok(Reading::Gone) => return None,
            Err(error) => {
                errors::report_unread(&error, "Machine not readable", diags);
                return None;
            }
        };
        let value = values::whole(&state, &self.schema, diags)?;
        Some(State { value, private })
    }

    async fn import(&self, _ctx: &Context, id: &str, diags: &mut Diagnostics) -> Option<State> {
        let context = self.shared.context(diags)?;
        let (host, name) = import::parse_id(id, &context, diags)?;
        let found = context
            .engine
            .find_machine(&host, &context.namespace, &name)
            .await;
        let (view, mark) = found
            .map_err(|error| errors::report(&error, "Machine not imported", diags))
            .ok()?;
        import::refuse_a_pools(id, mark.as_ref(), diags);
        if diags.has_errors() {
            return None;
        }
        let seed = import::read_seed(&context, &host, mark.as_ref(), diags).await;
        if diags.has_errors() {
            return None;
        }
        let value = values::whole(&import::imported(&host, &view, seed), &self.schema, diags)?;
        Some(State {
            value,
            private: private_of(&view, None),
        })
    }
}

/// The seed that the host shows of a machine whose state has none and whose plan has one: a drive that lost its seed
/// takes another while the machine runs, a drive that is not there comes with a restart.
async fn seed_there(plan: &Plan, context: &provider::Context) -> Option<SeedView> {
    let has = |value: &Value| !value.field("guest").is_null() || !value.field("cloud_init").is_null();
    if has(&plan.prior) || !has(&plan.planned) {
        return None;
    }
    let mut quiet = Diagnostics::default();
    let prior = values::known::<Vm>(&plan.prior, &mut quiet)?;
    let object = reference(context, &prior, &plan.prior_private);
    match context.engine.read_machine(&object).await {
        Ok(Reading::Present(view)) => Some(view.seed),
        _ => None,
    }
}

/// Gives a planned machine the secrets of its configuration, which no plan holds.
fn with_secrets(planned: &mut Vm, written: Vm) {
    if let (Some(cloud_init), Some(written)) = (&mut planned.cloud_init, written.cloud_init) {
        cloud_init.user_data_wo = written.user_data_wo;
    }
    if let (Some(guest), Some(written)) = (&mut planned.guest, written.guest) {
        guest.admin_password_wo = written.admin_password_wo;
        if let (Some(join), Some(written)) = (&mut guest.domain_join, written.domain_join) {
            join.password_wo = written.password_wo;
        }
    }
}

/// A configuration as the plan will have it, for rules that look at what is left out.
fn with_defaults(config: &Value) -> Value {
    let mut value = config.clone();
    for (name, default) in [
        ("cpus", Value::from(1)),
        ("power", Value::from("running")),
        ("allow_restart", Value::from(true)),
        ("graphics", Value::from("none")),
        ("autostart", Value::from(false)),
        ("deletion_protection", Value::from(false)),
    ] {
        if value.field(name).is_null() {
            values::put(&mut value, name, default);
        }
    }
    for (object, leaf, default) in [("ready", "wait", "address"), ("shutdown", "mode", "graceful")] {
        let path = Path::attribute(object).then_attribute(leaf);
        if !value.field(object).is_null() && value.field(object).field(leaf).is_null() {
            value.set(&path, default);
        }
    }
    let users: Vec<_> = value
        .field("guest")
        .field("users")
        .entries()
        .filter(|(_, user)| !user.is_null() && user.field("admin").is_null())
        .map(|(name, _)| name.to_owned())
        .collect();
    for name in users {
        let user = Path::attribute("guest").then_attribute("users").then_key(name);
        value.set(&user.then_attribute("admin"), false);
    }
    value
}
