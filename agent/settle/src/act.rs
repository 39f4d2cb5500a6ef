//! From a plan to what becomes of it: shown, written to be signed elsewhere, or signed and sent.

use agent_settlement::chain::{Chain, Simulated};
use agent_settlement::l1;
use agent_settlement::revert::decode;
use alloy::primitives::{Address, U64, U128, U256};
use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::abi;
use crate::args::{Acting, Until};
use crate::desk::{Desk, Survey};
use crate::direct::{Direct, Done, free};
use crate::files::{self, Place};
use crate::form::{Unsigned, UnsignedFile};
use crate::keystore::{self, SecretKey};
use crate::now_s;
use crate::plan::Planned;
use crate::quote::{Quote, policy, quote};
use crate::say::{Report, code, confirm, note};

/// What a command wants, and what people should know of it besides.
#[derive(Debug)]
pub(crate) struct Wish {
    pub plan: Vec<Planned>,
    /// What follows from it, in words.
    pub follows: Vec<String>,
}

/// The key that signs here, opened, and the account's outbox; none where nothing is signed here.
struct Hand {
    key: SecretKey,
    place: Place,
}

/// The keystore that is named, if one is, unopened: of the HP, as far as it says.
fn named(acting: &Acting, hp: Address) -> Result<Option<String>> {
    let Some(path) = &acting.key.keystore else { return Ok(None) };
    let text = files::keystore(path)?;
    match keystore::account(&text)? {
        Some(found) if found != hp => bail!(
            "the keystore is of {found}, and the HP is {hp}: take the HP's keystore, or correct --hp"
        ),
        _ => Ok(Some(text)),
    }
}

impl Hand {
    /// Opens a keystore.
    fn open(text: &str, acting: &Acting, chain: u64, hp: Address) -> Result<Self> {
        let password = files::password(acting.key.password_file.as_deref(), false)?;
        let key = keystore::open(text, &password)?;
        let found = key.address()?;
        if found != hp {
            bail!("the keystore holds the key of {found}, and the HP is {hp}");
        }
        let place = Place::open(acting.state.as_deref(), &format!("{chain}-{hp:?}"))?;
        Ok(Self { key, place })
    }

    async fn direct<C: Chain + Clone>(
        &self,
        desk: &Desk<C>,
        acting: &Acting,
        gas_max: Option<u64>,
    ) -> Result<Direct<C>> {
        let mut policy = policy(acting.max_fee);
        policy.gas_max = gas_max.unwrap_or(policy.gas_max);
        Direct::open(&desk.network, &desk.chain, &self.place, &self.key, policy, acting.wait).await
    }
}

/// Whether anything at all is to become of it.
fn some_way(acting: &Acting) -> Result<()> {
    match acting.dry_run || acting.out.is_some() || acting.key.keystore.is_some() {
        true => Ok(()),
        false => bail!(
            "say what is to become of it: --dry-run shows it, --out FILE writes it to be signed elsewhere, --keystore \
             FILE signs and sends it"
        ),
    }
}

/// Does with a wish what was asked for. `wish` is made when what an earlier run began is over.
pub(crate) async fn act<C, F>(
    desk: &Desk<C>,
    acting: &Acting,
    wish: impl FnOnce(Survey) -> F,
) -> Result<Report>
where
    C: Chain + Clone,
    F: Future<Output = Result<Wish>>,
{
    some_way(acting)?;
    // What stands against signing is told before a password is asked for.
    let keystore = named(acting, desk.hp)?;
    let survey = sound(desk).await?;
    let hand = match &keystore {
        Some(text) => Some(Hand::open(text, acting, desk.network.chain(), desk.hp)?),
        None => None,
    };
    let before = match &hand {
        Some(hand) => hand.direct(desk, acting, None).await?.finish_before(Until::Mined).await?,
        None => Default::default(),
    };
    let survey = if before.is_empty() { survey } else { sound(desk).await? };
    let wish = wish(survey.clone()).await?;
    if let Some(hand) = &hand
        && wish.plan.iter().any(|planned| before.contains(&planned.digest))
    {
        // Until it is final it is remembered, and the same once more would be taken for it again.
        hand.direct(desk, acting, None).await?.finish_before(Until::Final).await?;
        let lines = vec![
            "an earlier run had sent this transaction, and it took effect: nothing is sent again"
                .to_owned(),
            "run the command once more to make another like it".to_owned(),
        ];
        let json = json!({ "finishedEarlier": true, "transactions": [] });
        return Ok(Report { lines, json });
    }
    let quote = priced(desk, &survey, &wish.plan, acting, hand.is_some()).await?;
    let lines = shown(desk, &wish, &quote, acting.qr)?;
    let common = |transactions: serde_json::Value, extra: (&str, serde_json::Value)| {
        json!({
            "chain": desk.network.chain(), "hp": desk.hp, "follows": wish.follows,
            "costNowWei": quote.now_wei.to_string(), "costAtMostWei": quote.most_wei.to_string(),
            "l1FeeWei": quote.l1_wei.map(|wei| wei.to_string()), "l1FeeUnknown": quote.l1_unknown,
            "transactions": transactions, extra.0: extra.1,
        })
    };
    match (&hand, &acting.out) {
        (Some(hand), _) => {
            lines.iter().for_each(|line| note(line));
            // The engine waits for a price that is not known, and would pay whatever it comes to.
            quote.bounds_all()?;
            let for_good = wish.plan.iter().any(|planned| planned.deed.for_good());
            confirm(if for_good { "exit" } else { "yes" }, acting.yes)?;
            let gas_max = quote.gas.iter().max().copied();
            let done = hand.direct(desk, acting, gas_max).await?.carry_out(&wish.plan).await?;
            Ok(told(&wish, &done, |rows| common(rows, ("sent", true.into()))))
        }
        (None, Some(path)) => {
            let file = unsigned(desk, &wish.plan, &quote, acting.nonce).await?;
            let text = serde_json::to_string_pretty(&file).context("cannot write the file")?;
            files::write_new(path, &text)?;
            let mut lines = lines;
            lines.push(format!("nothing is signed; to be signed: {}", path.display()));
            let rows = json!(file.transactions);
            Ok(Report { lines, json: common(rows, ("sent", false.into())) })
        }
        (None, None) => {
            let mut lines = lines;
            lines.push("nothing is signed".to_owned());
            let rows = wish.plan.iter().zip(&quote.gas).map(|(planned, gas)| {
                json!({
                    "to": planned.call.to, "data": planned.call.data, "gas": gas,
                    "description": planned.deed.words(), "links": planned.links,
                })
            });
            Ok(Report { lines, json: common(rows.collect(), ("dryRun", true.into())) })
        }
    }
}

/// A chain on which nothing stands against signing.
async fn sound<C: Chain + Clone>(desk: &Desk<C>) -> Result<Survey> {
    let survey = desk.survey(now_s()?).await?;
    let reasons: Vec<_> = survey.refusals.iter().map(ToString::to_string).collect();
    match reasons.is_empty() {
        true => Ok(survey),
        false => bail!("nothing is signed: {}", reasons.join("; ")),
    }
}

/// What a plan costs, after each call was tried on the chain without effect.
async fn priced<C: Chain + Clone>(
    desk: &Desk<C>,
    survey: &Survey,
    plan: &[Planned],
    acting: &Acting,
    may_be_raised: bool,
) -> Result<Quote> {
    let (mut needed, mut l1) = (Vec::new(), Vec::new());
    // A block that both servers have now: a password may have taken minutes.
    let block = desk.chain.heads().await?.latest.number;
    for planned in plan {
        let gas = match planned.gas {
            Some(gas) => gas,
            None => match desk.chain.simulate(desk.hp, &planned.call).await? {
                Simulated::Gas(gas) => gas,
                Simulated::Reverts(data) => {
                    let why = decode(&data, &abi::errors());
                    bail!("nothing is signed: the contract refuses it: {why}");
                }
            },
        };
        needed.push(gas);
        let raw = l1::sized(desk.network.chain(), &planned.call, gas, acting.max_fee);
        l1.push(l1::fee(&desk.chain, &raw, &planned.call, block).await);
    }
    let base_wei = survey.heads.latest.base_fee_wei.unwrap_or(0);
    let prices = (base_wei, desk.chain.tip_wei().await?);
    let policy = policy(acting.max_fee);
    Ok(quote(&policy, &needed, &l1, prices, survey.balance_wei, may_be_raised)?)
}

fn shown<C>(desk: &Desk<C>, wish: &Wish, quote: &Quote, qr: bool) -> Result<Vec<String>> {
    let mut lines = vec![format!("chain {}, account {}", desk.network.chain(), desk.hp)];
    for planned in &wish.plan {
        lines.extend(planned.deed.words());
        lines.extend(planned.links.iter().map(|link| format!("  {link}")));
        if qr {
            for link in &planned.links {
                lines.extend(code(link)?);
            }
        }
    }
    lines.extend(wish.follows.iter().cloned());
    lines.extend(quote.words());
    Ok(lines)
}

async fn unsigned<C: Chain + Clone>(
    desk: &Desk<C>,
    plan: &[Planned],
    quote: &Quote,
    nonce: Option<u64>,
) -> Result<UnsignedFile> {
    let first = match nonce {
        Some(nonce) => nonce,
        None => free(&desk.chain, desk.hp).await?,
    };
    let nonces = first..u64::MAX;
    let one = |((planned, gas), nonce): ((&Planned, &u64), u64)| Unsigned {
        chain_id: U64::from(desk.network.chain()),
        from: desk.hp,
        to: planned.call.to,
        nonce: U64::from(nonce),
        value: U256::ZERO,
        data: planned.call.data.clone(),
        gas: U64::from(*gas),
        max_fee_per_gas: U128::from(quote.fee.max_wei),
        max_priority_fee_per_gas: U128::from(quote.fee.tip_wei),
        raw: None,
        signing_hash: None,
        description: planned.deed.words(),
        links: planned.links.clone(),
    };
    let all = plan.iter().zip(&quote.gas).zip(nonces).map(one).map(Unsigned::with_bytes);
    Ok(UnsignedFile::new(all.collect()))
}

fn told(
    wish: &Wish,
    done: &[Done],
    json: impl FnOnce(serde_json::Value) -> serde_json::Value,
) -> Report {
    let mut lines = Vec::new();
    for (planned, done) in wish.plan.iter().zip(done) {
        let what = planned.deed.words().first().cloned().unwrap_or_default();
        lines.push(match done.hash {
            Some(hash) => format!("done: {what}: {hash}"),
            None => format!("done by another transaction: {what}"),
        });
    }
    lines.extend(wish.follows.iter().cloned());
    let row = |(planned, done): (&Planned, &Done)| json!({ "description": planned.deed.words(), "hash": done.hash, "block": done.block });
    let rows = wish.plan.iter().zip(done).map(row).collect();
    Report { lines, json: json(rows) }
}
