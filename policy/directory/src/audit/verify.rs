//! Proving the audit (rule A4).
//!
//! Owns the walk over each node's chain: every record follows from the one before it, every
//! checkpoint is signed and says what the chain says, stubs stand for what was removed for its age,
//! and checkpoints that were kept elsewhere fit. What a walk cannot know, its answer says.
//! INVARIANT: nothing is written, a page at a time is held, and no snapshot outlives its share.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use portcullis_authn::StoreError;
use portcullis_gate::{AuditCheckpoint, AuditEvent};
use serde_json::{Value, json};

use super::signed::{self, Checkpoint, Stub};
use crate::chain::{Head, link};
use crate::db::{self, Connection, Sql};
use crate::error::During;
use crate::open::Directory;

/// Records read at once.
const PAGE: i64 = 1_000;
/// Pages read from one snapshot: an old one would keep the database from tidying up.
const PAGES: usize = 100;

/// Checks the audit: `{"ok", "records", "first_bad", "head", "says", "site", "key", "chains"}`.
/// `first_bad` is the number of the first record that does not fit, or null; `head` the newest
/// record's hash. `chains` says the same of each node, with its `node` and `label`, how many
/// records were `removed` for their age, up to which record it is signed (`signed_through`) and
/// fits what was kept elsewhere (`anchored_through`), and the `keys` that signed it.
/// What stands before it is of the first chain that is broken, else of the first, and counts
/// all records.
pub(crate) async fn verify(
    directory: &Directory,
    anchors: Vec<AuditCheckpoint>,
) -> Result<Value, StoreError> {
    let mut snapshot = directory.snapshot().await?;
    let site = signed::site(&mut snapshot).await?;
    let nodes: Vec<(i64, String)> = db::query_as("SELECT id, label FROM nodes ORDER BY id")
        .fetch_all(&mut snapshot)
        .await
        .during("reading the nodes")?;
    snapshot.close().await.during("reading the nodes")?;
    let wrong = foreign(&anchors, &site, &nodes);
    let unlisted = unlisted(directory, &nodes).await?;
    let own = directory.public_key().map(|key| key.to_vec());
    let mut chains = Vec::with_capacity(nodes.len());
    let mut records = 0;
    for (node, label) in nodes {
        let of_node = anchors.iter().filter(|anchor| anchor.node == node).cloned();
        let mut walk = Walk::new(node, site.clone(), of_node.collect());
        walk.key = own.clone().filter(|_| node == directory.node());
        let broken = walk.run(directory).await?;
        records += walk.head.seq;
        chains.push(walk.shown(&label, broken));
    }
    for node in unlisted {
        let says = format!("what is stored of node {node} is no gateway's: no such node is listed");
        let walk = Walk::new(node, site.clone(), Vec::new());
        chains.push(walk.shown("", Some(Broken { seq: 1, says })));
    }
    let broken = chains.iter().find(|chain| chain["ok"] == false);
    let mut whole = broken.or(chains.first()).cloned().unwrap_or_default();
    if let Value::Object(members) = &mut whole {
        members.insert("records".to_owned(), json!(records));
        members.insert("site".to_owned(), json!(site));
        let key = own.map(|key| HEXLOWER.encode(&key));
        members.insert("key".to_owned(), json!(key));
        members.insert("chains".to_owned(), json!(chains));
        if let Some(wrong) = wrong {
            members.insert("ok".to_owned(), json!(false));
            members.insert("says".to_owned(), json!(wrong));
        }
    }
    Ok(whole)
}

/// Nodes that nobody entered, and of which there are records, checkpoints or stubs all the same.
async fn unlisted(directory: &Directory, nodes: &[(i64, String)]) -> Result<Vec<i64>, StoreError> {
    let doing = "looking for records of nodes that are not listed";
    // A server finds each node by its index; SQLite reads the table, as the walk does.
    let every = Sql::either(
        "SELECT DISTINCT node FROM audit UNION SELECT node FROM audit_checkpoints \
         UNION SELECT node FROM audit_stubs ORDER BY node",
        "WITH RECURSIVE every (node) AS (SELECT min(node) FROM audit UNION ALL \
           SELECT (SELECT min(audit.node) FROM audit WHERE audit.node > every.node) FROM every \
            WHERE every.node IS NOT NULL) \
         SELECT node FROM every WHERE node IS NOT NULL UNION SELECT node FROM audit_checkpoints \
         UNION SELECT node FROM audit_stubs ORDER BY node",
    );
    let mut snapshot = directory.snapshot().await?;
    let mut found: Vec<i64> = db::query_scalar(every)
        .fetch_all(&mut snapshot)
        .await
        .during(doing)?;
    snapshot.close().await.during(doing)?;
    found.retain(|node| !nodes.iter().any(|(listed, _)| listed == node));
    Ok(found)
}

/// What is wrong with a checkpoint that was kept elsewhere, before any chain is looked at.
fn foreign(anchors: &[AuditCheckpoint], site: &str, nodes: &[(i64, String)]) -> Option<String> {
    anchors.iter().find_map(|anchor| {
        let which = format!(
            "the kept checkpoint of node {} at record {}",
            anchor.node, anchor.last
        );
        if !signed::is_authentic(anchor) {
            return Some(format!("{which} was altered: its signature does not fit"));
        }
        if anchor.site != site {
            let other = &anchor.site;
            return Some(format!(
                "{which} is of another site ({other}); this one is {site}"
            ));
        }
        let known = nodes.iter().any(|(node, _)| *node == anchor.node);
        (!known).then(|| format!("{which} speaks of a node whose chain is gone"))
    })
}

/// What is wrong with the chain, and where.
#[derive(Debug)]
struct Broken {
    seq: i64,
    says: String,
}

fn broken<T>(seq: i64, says: impl Into<String>) -> Result<T, Wrong> {
    let says = says.into();
    Err(Wrong::Chain(Broken { seq, says }))
}

/// Why a walk ended early.
enum Wrong {
    Chain(Broken),
    Store(StoreError),
}

impl From<StoreError> for Wrong {
    fn from(error: StoreError) -> Self {
        Wrong::Store(error)
    }
}

/// The walk over one chain.
struct Walk {
    node: i64,
    site: String,
    /// The key that must have signed; where it is not known, that of the newest checkpoint.
    key: Option<Vec<u8>>,
    head: Head,
    removed: i64,
    signed: i64,
    keys: Vec<Vec<u8>>,
    /// The last checkpoint that another key signed.
    stranger: Option<(i64, Vec<u8>)>,
    /// What was kept elsewhere, by the record of which it speaks; what was compared is taken out.
    anchors: BTreeMap<i64, Vec<AuditCheckpoint>>,
    anchored: i64,
    /// The stub under which a part of the records still stands, until the walk has passed them.
    rest: Option<Stub>,
    /// The first record of such a part, before which the chain is gone already.
    unproven: Option<i64>,
}

impl Walk {
    fn new(node: i64, site: String, kept: Vec<AuditCheckpoint>) -> Self {
        let mut anchors: BTreeMap<i64, Vec<AuditCheckpoint>> = BTreeMap::new();
        for anchor in kept {
            anchors.entry(anchor.last).or_default().push(anchor);
        }
        Walk {
            node,
            site,
            key: None,
            head: Head::GENESIS,
            removed: 0,
            signed: 0,
            keys: Vec::new(),
            stranger: None,
            anchors,
            anchored: 0,
            rest: None,
            unproven: None,
        }
    }

    async fn run(&mut self, directory: &Directory) -> Result<Option<Broken>, StoreError> {
        match self.walk(directory).await {
            Ok(()) => Ok(None),
            Err(Wrong::Chain(broken)) => Ok(Some(broken)),
            Err(Wrong::Store(error)) => Err(error),
        }
    }

    async fn walk(&mut self, directory: &Directory) -> Result<(), Wrong> {
        let mut snapshot = directory.snapshot().await?;
        let ends = Ends::read(&mut snapshot, self.node).await?;
        let key = ends.key.clone();
        self.key = self.key.take().or(key);
        if ends.oldest < 1 {
            let says = format!("record {} stands before the first", ends.oldest);
            return broken(ends.oldest, says);
        }
        while self.head.seq < ends.newest {
            for _ in 0..PAGES {
                if self.head.seq < ends.newest {
                    self.page(&mut snapshot).await?;
                }
            }
            let closed = snapshot.close().await;
            closed.during("verifying the audit")?;
            snapshot = directory.snapshot().await?;
        }
        self.cut_short(&ends)?;
        if let Some(last) = self.anchors.keys().next() {
            let says = "the kept checkpoint cannot be compared: what it speaks of is gone";
            return broken(*last, format!("record {last}: {says}"));
        }
        match &self.stranger {
            Some((seq, key)) if *seq > self.anchored => broken(
                *seq,
                format!(
                    "the checkpoint at record {seq} is signed with another key ({}) than this \
                     node's; whoever wrote it could have written every record up to there anew. If \
                     the key was replaced, give a checkpoint that was kept before it with --anchor",
                    HEXLOWER.encode(key)
                ),
            ),
            _ => Ok(()),
        }
    }

    /// Whether something speaks of records beyond the end.
    fn cut_short(&self, ends: &Ends) -> Result<(), Wrong> {
        let (head, next) = (self.head.seq, self.head.seq + 1);
        let anchor = self.anchors.last_key_value().map_or(0, |(last, _)| *last);
        if anchor > head {
            let says = "at least were removed from the end: a checkpoint that was kept speaks of \
                        them";
            return broken(next, format!("records {next} to {anchor} {says}"));
        }
        let told = ends.closed.max(ends.signed);
        if told > head {
            let says = "at least were removed from the end";
            return broken(next, format!("records {next} to {told} {says}"));
        }
        Ok(())
    }

    /// Moves over a page of records, or over a stub.
    async fn page(&mut self, connection: &mut Connection) -> Result<(), Wrong> {
        let from = self.head.seq;
        let rows = records(connection, self.node, from).await?;
        let follows = rows.first().is_some_and(|row| row.0 == from + 1);
        if !follows {
            return self.gap(connection, rows.first()).await;
        }
        let last = rows.last().map_or(from, |row| row.0);
        let mut checkpoints = Checkpoint::between(connection, self.node, (from, last), PAGE)
            .await?
            .into_iter();
        let mut checkpoint = checkpoints.next();
        for row in &rows {
            if row.0 != self.head.seq + 1 {
                return Ok(());
            }
            step(&mut self.head, row)?;
            if let Some(stub) = self.rest.take_if(|stub| stub.last == row.0) {
                self.reached(&stub)?;
            }
            if let Some(one) = checkpoint.take_if(|one| one.last == row.0) {
                self.check(&one, Some(&self.head.hash.clone()))?;
                checkpoint = checkpoints.next();
            }
            self.meet(row.0, Some(&self.head.hash.clone()))?;
        }
        Ok(())
    }

    /// Records are missing: for their age, or because somebody removed them.
    async fn gap(
        &mut self,
        connection: &mut Connection,
        row: Option<&Record>,
    ) -> Result<(), Wrong> {
        let next = row.map(|row| row.0);
        let (from, expected) = (self.head.seq, self.head.seq + 1);
        let Some(stub) = Stub::over(connection, self.node, expected).await? else {
            let says = match next {
                Some(next) if next - expected > 1 => {
                    format!("records {expected} to {} were removed", next - 1)
                }
                Some(_) => format!("record {expected} was removed"),
                None => format!("the records from {expected} on were removed"),
            };
            return broken(expected, says);
        };
        // A walk that was overtaken by the removal stands in the middle of what is gone.
        let fits = stub.first < expected || stub.before == self.head.hash;
        if !fits || !stub.is_authentic(&self.site) {
            let says = "the stub for records that were removed was altered, or stands elsewhere";
            return broken(expected, says);
        }
        // The oldest go first: what still stands before a gap was put there.
        if let Some(seq) = first_within(connection, self.node, (stub.first, from)).await? {
            let says = "stands where a stub says that it was removed";
            return broken(seq, format!("record {seq} {says}"));
        }
        self.signed_with(stub.last, &stub.key);
        if let Some(row) = row.filter(|row| row.0 <= stub.last) {
            return self.remainder(connection, stub, row).await;
        }
        let done = self.under(connection, stub.last, &stub.after).await?;
        if done < stub.last {
            return broken(done + 1, "the checkpoint under a stub was removed");
        }
        self.removed += stub.last - from;
        self.rest = None;
        self.head = Head {
            seq: stub.last,
            hash: stub.after.try_into().unwrap_or_default(),
        };
        Ok(())
    }

    /// Goes on with the first record that still stands under a stub: from it on every record must
    /// follow, up to the hash that the stub ends with. Its own text cannot be proven any more.
    async fn remainder(
        &mut self,
        connection: &mut Connection,
        stub: Stub,
        row: &Record,
    ) -> Result<(), Wrong> {
        let (seq, hash) = (row.0, &row.6);
        searched_by(row)?;
        self.under(connection, seq, hash).await?;
        self.meet(seq, Some(hash))?;
        self.removed += seq - self.head.seq - 1;
        self.unproven = Some(seq);
        self.head = Head {
            seq,
            hash: hash.clone().try_into().unwrap_or_default(),
        };
        if stub.last == seq {
            return self.reached(&stub);
        }
        self.rest = Some(stub);
        Ok(())
    }

    /// What still stood under a stub must end as the stub says.
    fn reached(&self, stub: &Stub) -> Result<(), Wrong> {
        if self.head.hash.as_slice() == stub.after {
            return Ok(());
        }
        let says = "the records that still stand under a stub are not those that it speaks of";
        broken(stub.last, says)
    }

    /// Checks the checkpoints over records that were removed, up to one that has this hash; up to
    /// which record there are some.
    async fn under(
        &mut self,
        connection: &mut Connection,
        last: i64,
        after: &[u8],
    ) -> Result<i64, Wrong> {
        let mut done = self.head.seq;
        loop {
            let page = Checkpoint::between(connection, self.node, (done, last), PAGE).await?;
            for one in &page {
                let hash = (one.last == last).then_some(after);
                self.check(one, hash)?;
                self.meet(one.last, Some(&one.hash))?;
            }
            match page.last() {
                Some(one) => done = one.last,
                None => return Ok(done),
            }
        }
    }

    /// Checks a checkpoint, where the chain has this hash at its record.
    fn check(&mut self, one: &Checkpoint, hash: Option<&[u8]>) -> Result<(), Wrong> {
        let at = one.last;
        if !one.is_authentic(&self.site) {
            return broken(at, format!("the checkpoint at record {at} was altered"));
        }
        if one.first > self.signed + 1 {
            let says = format!("a checkpoint before record {} was removed", one.first);
            return broken(self.signed + 1, says);
        }
        if hash.is_some_and(|hash| hash != one.hash) {
            let first = one.first;
            return broken(
                first,
                format!("records {first} to {at} are not those that were signed: written anew"),
            );
        }
        self.signed = at;
        self.signed_with(at, &one.key);
        Ok(())
    }

    fn signed_with(&mut self, at: i64, key: &[u8]) {
        if !self.keys.iter().any(|known| known == key) {
            self.keys.push(key.to_vec());
        }
        if self.key.as_ref().is_some_and(|own| own != key) {
            self.stranger = Some((at, key.to_vec()));
        }
    }

    /// Compares what was kept of a record with its hash.
    fn meet(&mut self, seq: i64, hash: Option<&[u8]>) -> Result<(), Wrong> {
        let Some(kept) = self.anchors.remove(&seq) else {
            return Ok(());
        };
        let hash = hash.map(|hash| HEXLOWER.encode(hash));
        if kept
            .iter()
            .any(|anchor| Some(&anchor.hash) != hash.as_ref())
        {
            let says = "was written anew: it is not the one of which the kept checkpoint speaks";
            return broken(seq, format!("the chain up to record {seq} {says}"));
        }
        self.anchored = seq;
        Ok(())
    }

    fn shown(&self, label: &str, broken: Option<Broken>) -> Value {
        let keys: Vec<String> = self.keys.iter().map(|key| HEXLOWER.encode(key)).collect();
        json!({
            "node": self.node,
            "label": label,
            "ok": broken.is_none(),
            "records": self.head.seq,
            "removed": self.removed,
            "first_bad": broken.as_ref().map(|broken| broken.seq),
            "head": HEXLOWER.encode(&self.head.hash),
            "signed_through": self.signed,
            "anchored_through": self.anchored,
            "keys": keys,
            "says": broken.map_or_else(|| self.sound(), |broken| broken.says),
        })
    }

    /// What is known of a whole chain, and what is not.
    fn sound(&self) -> String {
        let mut says = "every record follows from the one before it".to_owned();
        if self.head.seq > self.signed {
            says.push_str(&format!(
                "; those after {} are not signed yet, and could be removed from the end unseen",
                self.signed
            ));
        }
        if let Some(first) = self.unproven {
            says.push_str(&format!(
                "; record {first} is about to be removed for its age, with those before it gone, \
                 and its own text is not proven any more"
            ));
        }
        says.push_str(&match self.anchored {
            0 => "; a chain cut off together with its checkpoints, or made anew together with its \
                  key, cannot be seen without a checkpoint that was kept elsewhere"
                .to_owned(),
            seq => format!(
                "; up to {seq} they are those of which the kept checkpoint speaks. What came after \
                 it could have been cut off or made anew by whoever had the database and the key"
            ),
        });
        says
    }
}

/// How far a chain goes, by everything that speaks of it.
struct Ends {
    oldest: i64,
    newest: i64,
    closed: i64,
    signed: i64,
    key: Option<Vec<u8>>,
}

impl Ends {
    async fn read(connection: &mut Connection, node: i64) -> Result<Self, StoreError> {
        let doing = "reading the audit's marks";
        let (oldest, records, stubs): (i64, i64, i64) = db::query_as(
            "SELECT (SELECT coalesce(min(seq), 1) FROM audit WHERE node = $1), \
                    (SELECT coalesce(max(seq), 0) FROM audit WHERE node = $1), \
                    (SELECT coalesce(max(last_seq), 0) FROM audit_stubs WHERE node = $1)",
        )
        .bind(node)
        .fetch_one(&mut *connection)
        .await
        .during(doing)?;
        let closed: Option<i64> =
            db::query_scalar("SELECT closed_through FROM audit_state WHERE node = $1")
                .bind(node)
                .fetch_optional(&mut *connection)
                .await
                .during(doing)?;
        let all = Checkpoint::newest_of_all(connection).await?;
        let newest = all.into_iter().find(|one| one.node == node);
        Ok(Ends {
            oldest,
            newest: records.max(stubs),
            closed: closed.unwrap_or(0),
            signed: newest.as_ref().map_or(0, |one| one.last),
            key: newest.map(|one| one.key),
        })
    }
}

type Record = (
    i64,
    Option<i64>,
    String,
    String,
    Option<i64>,
    String,
    Vec<u8>,
);

async fn records(
    connection: &mut Connection,
    node: i64,
    after: i64,
) -> Result<Vec<Record>, StoreError> {
    db::query_as(
        "SELECT seq, intent, kind, outcome, account, record, hash FROM audit \
         WHERE node = $3 AND seq > $1 ORDER BY seq LIMIT $2",
    )
    .bind(after)
    .bind(PAGE)
    .bind(node)
    .fetch_all(connection)
    .await
    .during("verifying the audit")
}

/// The first record of a node from one up to another, if there is one.
async fn first_within(
    connection: &mut Connection,
    node: i64,
    (first, last): (i64, i64),
) -> Result<Option<i64>, StoreError> {
    db::query_scalar("SELECT min(seq) FROM audit WHERE node = $1 AND seq >= $2 AND seq <= $3")
        .bind(node)
        .bind(first)
        .bind(last)
        .fetch_one(connection)
        .await
        .during("looking for records under a stub")
}

/// Moves the head over the next record, if the row is what was stored.
fn step(head: &mut Head, row: &Record) -> Result<(), Wrong> {
    let (seq, intent, .., record, hash) = row;
    let computed = link(&head.hash, *seq, *intent, record);
    if computed.as_slice() != hash.as_slice() {
        let says = format!("record {seq} was altered, or stood elsewhere in the chain");
        return broken(*seq, says);
    }
    searched_by(row)?;
    *head = Head {
        seq: *seq,
        hash: computed,
    };
    Ok(())
}

/// Whether the row is found by what its record says.
fn searched_by(row: &Record) -> Result<(), Wrong> {
    let (seq, _, kind, outcome, account, record, _) = row;
    let same = serde_json::from_str::<AuditEvent>(record).is_ok_and(|event| {
        event.kind.as_str() == kind
            && event.outcome.as_str() == outcome
            && event.account == *account
    });
    if !same {
        let says =
            format!("what record {seq} is searched by was altered; the record itself stands");
        return broken(*seq, says);
    }
    Ok(())
}
