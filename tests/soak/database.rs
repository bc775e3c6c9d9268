//! A database that is stopped for a while: its sink waits, nobody else, and afterwards everything
//! is there once.

use super::load::{self, Came, Load};
use super::straight;
use super::tables::Tables;
use crate::support::instance::Instance;
use crate::support::postgres::Postgres;
use crate::support::program::free_address;
use crate::support::soak::Soak;
use crate::support::wait;

/// How many alerts are in the tables.
const ALERTS: &str = "SELECT count(*) FROM alerts";

/// Waits until everything that was sent by now is delivered by the other sink.
fn all_delivered(instance: &Instance, load: &Load, came: &mut Came, soak: &Soak) {
    let good = load.good();
    wait::until("what was sent to be delivered", soak.patience(), || {
        (load.look(came, &instance.folder) >= good).then_some(())
    });
}

fn of_alerts(instance: &Instance, name: &str) -> f64 {
    instance.metrics().sum(name, &[("component_id", "alerts")])
}

#[test]
fn soak_of_a_database_that_is_stopped() {
    let (address, mut came, mut server) = (free_address(), Came::new(), Postgres::start());
    let url = server.url();
    let document = format!("database.url = \"{url}\"\n{}", load::document(address));
    let instance = Instance::start(&document);
    let soak = Soak::begin(15);
    let load = Load::start(&instance.folder, address);
    wait::until("an alert", soak.patience(), || {
        all_delivered(&instance, &load, &mut came, &soak);
        (server.ask(ALERTS) != "0").then_some(())
    });

    server.stop();
    let (begun, stopped_at) = (load.look(&mut came, &instance.folder), soak.elapsed());
    // It is stopped for as long as the soak goes on, and until the sink is known to wait.
    let labels = [("component_id", "alerts"), ("state", "spilling")];
    let waits = || instance.metrics().sum("azud_sink_state", &labels) == 1.0;
    wait::until("the sink to wait", soak.patience(), || {
        all_delivered(&instance, &load, &mut came, &soak);
        (!soak.goes_on() && waits()).then_some(())
    });
    wait::until("the gauge to say so", soak.patience(), || {
        (instance.metrics().sum("azud_database_up", &[]) == 0.0).then_some(())
    });
    let ready = instance.get("/ready");
    assert_eq!(ready.status, 200, "{}", ready.body);
    assert!(ready.body.contains("sink `alerts` has stalled"), "{}", ready.body);
    let spilled = of_alerts(&instance, "azud_sink_spill_events");
    assert!(spilled > 0.0);
    let (meanwhile, stopped) = (came.count() - begun, soak.elapsed() - stopped_at);

    server.resume();
    let known = server.ask(ALERTS);
    wait::until("more alerts in the tables", soak.patience(), || {
        all_delivered(&instance, &load, &mut came, &soak);
        (server.ask(ALERTS) != known).then_some(())
    });
    let tables = Tables::Postgres(server);
    let sent = load.stop();
    assert_eq!(sent.messages.len(), 1, "nobody broke the connection");
    let good = load::good(sent.lines) + load::good(sent.messages[0].len());
    wait::until("everything to be delivered", soak.patience(), || {
        (came.look(&instance.folder) == good).then_some(())
    });
    wait::until("the sink to flow again", soak.patience(), || {
        (instance.get("/ready").body == "{\"ready\":true}").then_some(())
    });
    let folder = straight::end((instance, address), &tables, &sent, &mut came, soak.patience());
    assert_eq!((came.again, came.torn), (0, 0));
    let ends = tables.ends(&folder);
    println!(
        "stopped for {stopped:?}: {meanwhile} records delivered elsewhere meanwhile, {spilled} \
         revisions of alerts in the spill at the end of it; {} records and {} alerts in all",
        came.count(),
        ends.len(),
    );
    straight::is(&ends, &sent, &came, soak.patience());
}
