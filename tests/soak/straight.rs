//! The end of a run, and the same records in a run that nothing happens to.

use super::load::{self, Came, Sent};
use super::tables::Tables;
use crate::support::files::Folder;
use crate::support::instance::Instance;
use crate::support::program::free_address;
use crate::support::wait;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

/// Runs to the end of all windows, and ends in good order; gives the folder.
#[track_caller]
pub fn end(
    (instance, address): (Instance, SocketAddr),
    tables: &Tables,
    sent: &Sent,
    came: &mut Came,
    patience: Duration,
) -> Folder {
    let open = load::end(&instance.folder, address, sent.seconds());
    tables.are_settled(&instance.folder, came, patience);
    drop(open);
    let (ended, folder) = instance.stop();
    assert!(ended.status.success(), "{:?}", ended.errors);
    came.take_letters(&folder);
    came.is_whole(sent);
    folder
}

/// Feeds all that came to an instance that nothing happens to; its alerts must end as these.
#[track_caller]
pub fn is(ends: &[String], sent: &Sent, came: &Came, patience: Duration) {
    let (folder, address) = (Folder::new(), free_address());
    folder.write("in.log", "");
    let instance = Instance::start_in(folder, &load::document(address), &[]);
    let mut again = Came::new();
    sent.feed_again(&instance.folder, address, came, |good| {
        wait::until("everything to be delivered again", patience, || {
            (again.look(&instance.folder) == good).then_some(())
        });
    });
    let folder = end((instance, address), &Tables::Sqlite, sent, &mut again, patience);
    assert_eq!((again.again, again.torn, again.letters), (0, 0, came.letters));
    let straight = Tables::Sqlite.ends(&folder);
    assert!(ends == straight, "{:#?}", differences(ends, &straight));
}

/// Gives some of what only one of both has.
fn differences<'a>(left: &'a [String], right: &'a [String]) -> Vec<&'a String> {
    let only = |one: &'a [String], other: &[String]| {
        let known: BTreeSet<_> = other.iter().collect();
        one.iter().filter(|it| !known.contains(it)).take(10).collect::<Vec<_>>()
    };
    [only(left, right), only(right, left)].concat()
}
