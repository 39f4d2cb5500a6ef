//! Sending what was signed elsewhere. The signed bytes are the memory: the same bytes sent again have no second effect.

use std::time::{Duration, Instant};

use agent_settlement::call::Call;
use agent_settlement::chain::{At, Chain, ChainError, Sent, Simulated};
use agent_settlement::outbox::Inclusion;
use agent_settlement::revert::decode;
use anyhow::{Result, bail};

use crate::abi;
use crate::args::{Until, Wait};
use crate::direct::{Done, Unfinished, words};
use crate::form::Known;
use crate::say::note;
use crate::units::eth;

/// How often is looked: a block of Base is made every two seconds.
const TICK: Duration = Duration::from_secs(2);

/// Sends transactions, one after the other, and waits for each.
pub(crate) async fn all<C: Chain>(chain: &C, known: &[Known], wait: Wait) -> Result<Vec<Done>> {
    let began = Instant::now();
    for one in known {
        until(chain, one, Until::Mined, wait, began).await?;
    }
    let mut done = Vec::new();
    for one in known {
        let inclusion = until(chain, one, wait.wait, wait, began).await?;
        done.push(Done { hash: Some(one.hash), block: Some(inclusion.number) });
    }
    Ok(done)
}

/// Where a transaction is, once it is so far.
async fn until<C: Chain>(
    chain: &C,
    one: &Known,
    until: Until,
    wait: Wait,
    began: Instant,
) -> Result<Inclusion> {
    let mut told = String::new();
    loop {
        match look(chain, one, until).await {
            Ok(Some(inclusion)) => return Ok(inclusion),
            Ok(None) => {}
            Err(Trouble::Passing(why)) => {
                if told != why {
                    note(&why);
                    told = why;
                }
            }
            Err(Trouble::Ends(why)) => bail!("{}: {why}", one.hash),
        }
        if began.elapsed() >= Duration::from_secs(wait.timeout) {
            bail!(Unfinished(words(until)));
        }
        tokio::time::sleep(TICK).await;
    }
}

/// What keeps a transaction from being so far.
enum Trouble {
    /// It may pass.
    Passing(String),
    /// It will not.
    Ends(String),
}

impl From<ChainError> for Trouble {
    fn from(error: ChainError) -> Self {
        Self::Passing(format!("not known yet: {error}"))
    }
}

/// Looks where a transaction is, and sends it where it is nowhere.
async fn look<C: Chain>(
    chain: &C,
    one: &Known,
    until: Until,
) -> Result<Option<Inclusion>, Trouble> {
    let heads = chain.heads().await?;
    // What became of it comes first: bytes that are mined are not sent again.
    if let Some(found) = chain.receipt(one.hash).await? {
        if chain.block_hash(found.number).await? != Some(found.block) {
            return Err(Trouble::Passing("its block vanished: looking again".to_owned()));
        }
        let far = match until {
            Until::Mined => heads.latest.number,
            Until::Safe => heads.safe,
            Until::Final => heads.finalized,
        };
        return match found {
            found if !found.ok && found.number <= heads.safe => {
                Err(Trouble::Ends(format!("it was reverted{}", why(chain, one).await)))
            }
            found if found.ok && found.number <= far => Ok(Some(found)),
            _ => Ok(None),
        };
    }
    if chain.known(one.hash).await? {
        return Ok(None);
    }
    if chain.nonce(one.from, At::Number(heads.safe)).await? > one.nonce {
        // Asked again: it may have been mined between the two questions.
        return match chain.receipt(one.hash).await? {
            Some(_) => Ok(None),
            None => Err(Trouble::Ends(format!(
                "another transaction of {} used its nonce {}: it can never take effect; prepare it anew if it is \
                 still wanted",
                one.from, one.nonce
            ))),
        };
    }
    match chain.send(&one.raw).await? {
        Sent::Waits | Sent::NonceUsed => Ok(None),
        Sent::Underpriced => Err(Trouble::Passing(
            "gas costs more than it pays, or another with its nonce waits: sent again until it is taken".to_owned(),
        )),
        Sent::NoFunds => Err(Trouble::Ends(format!(
            "the account {} cannot pay for it: it can cost {}; pay into it and send the file again",
            one.from,
            eth(one.most_wei)
        ))),
        Sent::Refused(words) => Err(Trouble::Ends(format!("the RPC servers do not take it: {words}"))),
    }
}

/// Why a call is refused, where the chain says that.
async fn why<C: Chain>(chain: &C, one: &Known) -> String {
    let call = Call { to: one.to, data: one.data.clone(), probe: None };
    match chain.simulate(one.from, &call).await {
        Ok(Simulated::Reverts(data)) => format!(": {}", decode(&data, &abi::errors())),
        Ok(Simulated::Gas(_)) | Err(_) => String::new(),
    }
}
