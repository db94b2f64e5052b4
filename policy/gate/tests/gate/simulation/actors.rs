//! Who acts in a schedule: clients, administrators, and what befalls the gateways.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use portcullis_authn::{ProvenCredential, SiteKey, proof_for_test};
use portcullis_gate::admin::{Actor, AdminChange};
use portcullis_gate::{
    AuthorizedFs, ConnectionInfo, Durability, FsError, Gate, GateConfig, Session,
};
use portcullis_model::{AccountId, Action, PlaceKind, Protocol, ProtocolSet};

use super::disk::{content, upload_of};
use super::ports::{OP, Op, Ports};
use super::site::{Admitted, name_of, path};
use super::world::{Node, Wire, World};
use crate::support::{READ, WRITE};

const FOLDERS: [&str; 9] = [
    "/1",
    "/2",
    "/g",
    "/g/in",
    "/g/out",
    "/1/in",
    "/1/out",
    "/g/in/deep",
    "/g/out/deep",
];

/// Starts a gateway at a place, as often as it dies while it starts.
pub fn start(world: &Arc<World>, slot: usize) -> Arc<Node> {
    let told = world.newest().0;
    let mut nodes = world.nodes.lock().unwrap();
    let number = nodes.get(slot).map_or(slot, |old| old.number + 100);
    let node = Arc::new(Node::new(number, slot, told));
    match nodes.get_mut(slot) {
        Some(old) => *old = node.clone(),
        None => nodes.push(node.clone()),
    }
    drop(nodes);
    let ports = Arc::new(Ports {
        world: world.clone(),
        node: node.clone(),
    });
    let config = GateConfig {
        durability: Durability::Never,
        max_sessions: 1_000,
        max_open: 1_000,
        max_open_of_account: 1_000,
        partial_life: Duration::from_secs(7 * 86_400),
    };
    let key = SiteKey::from_bytes([7; 32]);
    let gate = Gate::new(
        config,
        key,
        ports.clone(),
        ports.clone(),
        ports.clone(),
        ports,
    );
    let starting = node.clone();
    tokio::spawn(async move {
        while gate.recover().await.is_err() || gate.join().await.is_err() {}
        if starting.gate.set(Arc::downgrade(&gate)).is_ok() {
            gate.run().await;
        }
    });
    node
}

/// A gateway stops dead: its sockets with it, and none of its calls returns.
pub fn kill(world: &World, node: &Node) {
    world.log(|| format!("gateway {} dies", node.slot));
    node.alive.store(false, Ordering::SeqCst);
    node.died.close();
    // What the next start does with intents of which it finds no outcome.
    for intent in &mut world.shared.lock().unwrap().intents {
        if intent.node == node.number && intent.outcomes == 0 {
            intent.outcomes = 1;
        }
    }
}

/// A client with a session.
struct Client {
    node: Arc<Node>,
    wire: Arc<Wire>,
    session: Session,
    admitted: Admitted,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.wire.closed.store(true, Ordering::SeqCst);
    }
}

impl Client {
    /// An answer came: some version since allows it, the session lives, the gateway vouches for it.
    fn may_know(&self, world: &World, since: i64, asked: (Action, PlaceKind), at: &str) {
        let (who, session) = (self.admitted.account, Some(&self.admitted));
        let now = world.oldest_for(&self.node, who);
        let known = world.allowed(&self.node, session, who, since, &[asked], &path(at))
            && world.allowed(&self.node, session, who, now, &[], &path("/"))
            && self.node.is_vouched();
        if !known {
            world.broken(|| format!("{session:?} learnt of {at}, not allowed since {since} (C3)"));
        }
    }
}

/// What a client does until its turns are over.
pub async fn client(world: Arc<World>, turns: u32) {
    let random = &world.random;
    let mut here: Option<Client> = None;
    for _ in 0..turns {
        tokio::time::sleep(Duration::from_millis(random.below(400))).await;
        here = here.filter(|client| client.session.is_live() && !random.percent(10));
        if here.is_none() {
            let slots = world.nodes.lock().unwrap().len();
            let node = world.node(random.below(slots as u64) as usize);
            here = login(&world, node).await;
        }
        let Some(client) = &here else { continue };
        let node = &client.node;
        let op = Op {
            wire: client.wire.clone(),
            session: Some(client.admitted),
            oldest: world.oldest_for(node, client.admitted.account),
        };
        let patience = if random.percent(7) {
            random.below(40)
        } else {
            60_000
        };
        let stays = tokio::select! {
            biased;
            () = node.died() => false,
            () = OP.scope(op, act(&world, client)) => true,
            // Its client went away in the middle.
            () = tokio::time::sleep(Duration::from_millis(patience)) => false,
        };
        if !stays {
            here = None;
        }
    }
}

async fn login(world: &Arc<World>, node: Arc<Node>) -> Option<Client> {
    let gate = node.gate()?;
    let accounts = if world.crowded { 1 } else { 3 };
    let account = AccountId(1 + world.random.below(accounts) as i64);
    let wire = node.plug();
    let op = Op {
        wire: wire.clone(),
        session: None,
        oldest: 0,
    };
    let entering = OP.scope(op, enter(world, &gate, &wire, account));
    let entered = tokio::select! {
        biased;
        () = node.died() => None,
        entered = entering => entered,
    };
    let Some((session, key, epoch)) = entered else {
        wire.closed.store(true, Ordering::SeqCst);
        return None;
    };
    let version = wire.read.load(Ordering::SeqCst);
    let admitted = Admitted {
        account,
        key,
        version,
        epoch,
    };
    *wire.session.lock().unwrap() = Some(admitted);
    world.log(|| format!("gateway {} admits {admitted:?}", node.slot));
    let oldest = world.oldest_for(&node, account);
    if !node.is_vouched()
        || !world.allowed(&node, Some(&admitted), account, oldest, &[], &path("/"))
    {
        world.broken(|| format!("gateway {} admits {admitted:?}", node.slot));
    }
    world.check_wires(&node);
    Some(Client {
        node,
        wire,
        session,
        admitted,
    })
}

async fn enter(
    world: &Arc<World>,
    gate: &Arc<Gate>,
    wire: &Arc<Wire>,
    account: AccountId,
) -> Option<(Session, portcullis_model::CredentialId, i64)> {
    let info = ConnectionInfo {
        protocol: Protocol::Sftp,
        peer: "192.0.2.1:4000".parse().unwrap(),
    };
    let connection = gate.connect(info, wire.clone());
    connection.observer().concerns(Some(account));
    wire.concerns(account);
    // The proof is made of what stood when it was made.
    let stood = world.newest().1.accounts[&account].clone();
    tokio::time::sleep(Duration::from_millis(world.random.below(30))).await;
    let held = ProvenCredential {
        id: stood.key,
        version: 1,
    };
    let proof = proof_for_test(account, name_of(account), stood.cut_epoch, vec![held]);
    let session = gate.admit(proof, connection).await.ok()?;
    Some((session, stood.key, stood.cut_epoch))
}

async fn act(world: &Arc<World>, client: &Client) {
    let fs = client.session.fs();
    let random = &world.random;
    let folders = if world.crowded {
        &FOLDERS[5..7]
    } else {
        &FOLDERS[..]
    };
    let folder = *random.one_of(folders);
    let file = format!("{folder}/f{}", random.below(3));
    let other = *random.one_of(folders);
    let moves = world.crowded && random.percent(30);
    let done = match if moves { 9 } else { random.below(10) } {
        0..=3 => put(world, &fs, &file).await,
        4 | 5 => get(world, client, &fs, &file).await,
        6 if random.percent(50) => list(world, client, &fs, folder).await,
        6 => fs.make_dir(&path(folder)).await,
        7 => fs.remove_file(&path(&file)).await,
        8 => {
            let to = format!("{other}/f{}", random.below(3));
            fs.rename(&path(&file), &path(&to), random.percent(50))
                .await
        }
        _ if random.percent(20) => fs.remove_dir(&path(folder)).await,
        _ => fs.rename(&path(folder), &path(other), false).await,
    };
    if done.is_ok() {
        world.check_wires(&client.node);
    }
}

/// An upload in three writes; sometimes it goes on where a client should have given up.
async fn put(world: &World, fs: &AuthorizedFs, at: &str) -> Result<(), FsError> {
    let file = fs.open(&path(at), WRITE).await?;
    let upload = world.random.below(u64::MAX);
    let stubborn = world.random.percent(50);
    for (part, bytes) in content(upload).iter().enumerate() {
        tokio::time::sleep(Duration::from_millis(world.random.below(20))).await;
        match file.write_at(8 * part as u64, bytes).await {
            Err(error) if !stubborn => return Err(error),
            _ => {}
        }
    }
    file.close().await
}

async fn get(world: &World, client: &Client, fs: &AuthorizedFs, at: &str) -> Result<(), FsError> {
    let file = fs.open(&path(at), READ).await?;
    tokio::time::sleep(Duration::from_millis(world.random.below(100))).await;
    let since = world.oldest_for(&client.node, client.admitted.account);
    let mut bytes = [0; 64];
    let count = file.read_at(0, &mut bytes).await?;
    client.may_know(world, since, (Action::Read, PlaceKind::File), at);
    if upload_of(&bytes[..count]).is_none() {
        world.broken(|| format!("{at} is not whole (U2)"));
    }
    file.close().await
}

async fn list(world: &World, client: &Client, fs: &AuthorizedFs, at: &str) -> Result<(), FsError> {
    let since = world.oldest_for(&client.node, client.admitted.account);
    let mut listing = fs.list(&path(at)).await?;
    listing.next(100).await?;
    client.may_know(world, since, (Action::List, PlaceKind::Folder), at);
    Ok(())
}

/// What an administrator does.
pub async fn administrator(world: Arc<World>, turns: u32) {
    for _ in 0..turns {
        tokio::time::sleep(Duration::from_millis(world.random.below(700))).await;
        let slots = world.nodes.lock().unwrap().len();
        let node = world.node(world.random.below(slots as u64) as usize);
        let Some(gate) = node.gate() else {
            continue;
        };
        let change = some_change(&world);
        let undone = match &change {
            // Within a moment, so that whoever only looks at the state sees nothing (rule C1).
            AdminChange::UserDisable { name } => {
                Some(AdminChange::UserEnable { name: name.clone() })
            }
            AdminChange::UserSet { name, .. } => {
                Some(set_protocols(name.clone(), ProtocolSet::ALL))
            }
            _ => None,
        };
        for change in std::iter::once(change).chain(undone) {
            let administer = gate.administer(Actor::CommandLine { uid: 0 }, change);
            let told = tokio::select! {
                biased;
                () = node.died() => return,
                told = administer => told,
            };
            // Without a number it was carried out here alone: the directory was out of reach.
            if let Ok((stored, _)) = told
                && let Some(version) = stored.as_i64()
            {
                world.log(|| format!("gateway {} has announced {version}", node.slot));
                world.told(&node, version);
            }
            if world.random.percent(40) {
                tokio::time::sleep(Duration::from_millis(world.random.below(800))).await;
            }
        }
    }
}

fn set_protocols(name: portcullis_model::AccountName, all: ProtocolSet) -> AdminChange {
    AdminChange::UserSet {
        name,
        display: None,
        protocols: Some(all),
        role: None,
        factor_rule: None,
        root_view: None,
        home: None,
        max_sessions: None,
        limits: portcullis_gate::admin::UserLimits::default(),
    }
}

fn some_change(world: &World) -> AdminChange {
    let random = &world.random;
    let name = name_of(AccountId(1 + random.below(3) as i64));
    match random.below(16) {
        0..=3 => AdminChange::UserDisable { name },
        4 | 5 => AdminChange::KeyRemove {
            name,
            fingerprint: String::new(),
        },
        6 | 7 => set_protocols(name, ProtocolSet::NONE),
        8 => AdminChange::SessionsEndOf { name },
        9..=12 => AdminChange::GrantRemove {
            id: random.below(7) as i64,
        },
        13 if random.percent(30) => AdminChange::UserDelete { name },
        _ => AdminChange::FenceAdd {
            folder: path(FOLDERS[random.below(9) as usize]),
        },
    }
}

/// What befalls the gateways.
pub async fn misfortune(world: Arc<World>, turns: u32) {
    let random = &world.random;
    for _ in 0..turns {
        tokio::time::sleep(Duration::from_millis(random.below(2_500))).await;
        let slots = world.nodes.lock().unwrap().len();
        let slot = random.below(slots as u64) as usize;
        let node = world.node(slot);
        match random.below(4) {
            0 | 1 => {
                world.log(|| format!("gateway {slot} is cut off from the directory"));
                node.cut_off.store(true, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(random.below(9_000))).await;
                node.cut_off.store(false, Ordering::SeqCst);
                world.log(|| format!("gateway {slot} reaches the directory again"));
            }
            2 => {
                kill(&world, &node);
                tokio::time::sleep(Duration::from_millis(random.below(8_000))).await;
                start(&world, slot);
            }
            _ => {
                let seconds = random.below(7_200) as i64 - 3_600;
                world.jumped.store(seconds, Ordering::SeqCst);
            }
        }
    }
}
