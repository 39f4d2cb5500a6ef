//! A key in a file that a password opens: Web3 Secret Storage, version 3, as wallets keep them.
//!
//! Read and written here, as the crate that alloy uses for it panics on malformed files and takes any amount of memory
//! that a file asks for. The primitives are those of RustCrypto and ring.

use std::num::NonZeroU32;

use aes::Aes128;
use alloy::primitives::{Address, B256, Bytes, hex, keccak256};
use alloy::signers::local::PrivateKeySigner;
use ctr::cipher::{KeyIvInit, StreamCipher};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Bytes of a key, and of what is derived of a password: half of it encrypts, half of it authenticates.
const KEY_BYTES: usize = 32;

/// Bytes of a block of AES, and so of its counter.
const IV_BYTES: usize = 16;

/// The cost of what is written, as base-2 logarithm: geth's `StandardScryptN`, 256 MiB and about a second.
const LOG_N: u8 = 18;

/// Block size and parallelism of what is written (geth).
const R: u32 = 8;
const P: u32 = 1;

/// The most memory that a file may want, in bytes: twice that of what wallets write.
const MEMORY_MAX: u64 = 512 << 20;

/// The most passes over that memory.
const PASSES_MAX: u32 = 16;

/// The most rounds of PBKDF2: some forty times those of wallets (262,144).
const ROUNDS_MAX: u32 = 10_000_000;

/// The longest salt in bytes; wallets write 32.
const SALT_MAX: usize = 128;

/// A key; never printed, and wiped when it is dropped.
pub(crate) struct SecretKey(Zeroizing<[u8; KEY_BYTES]>);

/// Why a keystore gives no key. Nothing of what it holds is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeystoreError {
    /// It is of another form.
    #[error("the keystore is malformed: {0}")]
    Form(String),
    /// It asks for too much.
    #[error("the keystore is malformed: {0} is outside of what wallets write")]
    Outside(&'static str),
    /// It is of another kind.
    #[error(
        "the keystore has {what} `{found}`, which this program does not read: make one of version 3 with scrypt"
    )]
    Kind { what: &'static str, found: String },
    /// The password does not open it.
    #[error("the password does not open the keystore, or the keystore was changed")]
    Password,
    /// It holds no key of the curve.
    #[error("the keystore holds no secp256k1 key")]
    NoKey,
    /// It is of another account than it says.
    #[error("the keystore says that it is of {said}, and holds the key of {found}")]
    OtherAccount { said: Address, found: Address },
}

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    #[serde(default)]
    id: String,
    /// Without `0x`; some wallets leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(alias = "Crypto")]
    crypto: Crypto,
}

#[derive(Serialize, Deserialize)]
struct Crypto {
    cipher: String,
    cipherparams: CipherParams,
    ciphertext: String,
    kdf: String,
    kdfparams: KdfParams,
    mac: String,
}

#[derive(Serialize, Deserialize)]
struct CipherParams {
    iv: String,
}

#[derive(Serialize, Deserialize)]
struct KdfParams {
    dklen: u32,
    salt: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    n: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    r: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    p: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    c: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prf: Option<String>,
}

/// How a key is derived of a password.
enum Kdf {
    Scrypt(scrypt::Params),
    Pbkdf2(NonZeroU32),
}

/// What is drawn for a keystore.
pub(crate) struct Drawn {
    pub salt: [u8; KEY_BYTES],
    pub iv: [u8; IV_BYTES],
    pub id: [u8; 16],
}

impl SecretKey {
    /// The key with these bytes.
    pub(crate) fn new(bytes: Zeroizing<[u8; KEY_BYTES]>) -> Result<Self, KeystoreError> {
        PrivateKeySigner::from_slice(bytes.as_slice()).map_err(|_| KeystoreError::NoKey)?;
        Ok(Self(bytes))
    }

    /// The key that 64 hexadecimal digits are, with or without `0x` and a line's end.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, KeystoreError> {
        let digits = text.trim_ascii();
        let digits = digits.strip_prefix(b"0x").unwrap_or(digits);
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        hex::decode_to_slice(digits, bytes.as_mut_slice()).map_err(|_| KeystoreError::NoKey)?;
        Self::new(bytes)
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// What signs with it.
    pub(crate) fn signer(&self) -> Result<PrivateKeySigner, KeystoreError> {
        PrivateKeySigner::from_slice(self.bytes()).map_err(|_| KeystoreError::NoKey)
    }

    /// Whose it is.
    pub(crate) fn address(&self) -> Result<Address, KeystoreError> {
        Ok(self.signer()?.address())
    }
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey")
    }
}

/// Whose key a keystore says that it holds; none where it does not say.
pub(crate) fn account(text: &str) -> Result<Option<Address>, KeystoreError> {
    said(&parse(text)?)
}

/// Opens a keystore.
pub(crate) fn open(text: &str, password: &[u8]) -> Result<SecretKey, KeystoreError> {
    let file = parse(text)?;
    let said = said(&file)?;
    let Crypto { cipher, cipherparams, ciphertext, kdf, kdfparams, mac } = &file.crypto;
    if cipher != "aes-128-ctr" {
        return Err(KeystoreError::Kind { what: "the cipher", found: cipher.clone() });
    }
    let iv: [u8; IV_BYTES] = fixed("iv", &cipherparams.iv)?;
    let ciphertext: [u8; KEY_BYTES] = fixed("ciphertext", ciphertext)?;
    let mac: [u8; KEY_BYTES] = fixed("mac", mac)?;
    let derived = derive(&kdf_of(kdf, kdfparams)?, &salt(kdfparams)?, password)?;
    if authenticate(&derived, &ciphertext) != B256::from(mac) {
        return Err(KeystoreError::Password);
    }
    let mut key = Zeroizing::new(ciphertext);
    crypt(&derived, &iv, &mut key);
    let key = SecretKey::new(key)?;
    match (said, key.address()?) {
        (Some(said), found) if said != found => Err(KeystoreError::OtherAccount { said, found }),
        _ => Ok(key),
    }
}

/// Writes a keystore.
pub(crate) fn seal(
    key: &SecretKey,
    password: &[u8],
    drawn: &Drawn,
) -> Result<String, KeystoreError> {
    let params = scrypt::Params::new(LOG_N, R, P);
    let params = params.map_err(|_| KeystoreError::Outside("scrypt"))?;
    let derived = derive(&Kdf::Scrypt(params), &drawn.salt, password)?;
    let mut ciphertext = Zeroizing::new(*key.0);
    crypt(&derived, &drawn.iv, &mut ciphertext);
    let dklen = u32::try_from(KEY_BYTES).map_err(|_| KeystoreError::Outside("dklen"))?;
    let file = File {
        version: 3,
        id: uuid(drawn.id),
        address: Some(hex::encode(key.address()?)),
        crypto: Crypto {
            cipher: "aes-128-ctr".to_owned(),
            cipherparams: CipherParams { iv: hex::encode(drawn.iv) },
            mac: hex::encode(authenticate(&derived, &ciphertext)),
            ciphertext: hex::encode(*ciphertext),
            kdf: "scrypt".to_owned(),
            kdfparams: KdfParams {
                dklen,
                salt: hex::encode(drawn.salt),
                n: Some(1 << LOG_N),
                r: Some(R),
                p: Some(P),
                c: None,
                prf: None,
            },
        },
    };
    serde_json::to_string(&file).map_err(|error| KeystoreError::Form(error.to_string()))
}

fn parse(text: &str) -> Result<File, KeystoreError> {
    let file: File = serde_json::from_str(text).map_err(|error| {
        // Where it is wrong, and not what stands there.
        KeystoreError::Form(format!(
            "it is no JSON of version 3 (line {}, column {})",
            error.line(),
            error.column()
        ))
    })?;
    match file.version {
        3 => Ok(file),
        other => Err(KeystoreError::Kind { what: "version", found: other.to_string() }),
    }
}

fn said(file: &File) -> Result<Option<Address>, KeystoreError> {
    let Some(text) = file.address.as_deref().filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    fixed::<20>("address", text).map(|bytes| Some(Address::from(bytes)))
}

fn fixed<const N: usize>(what: &str, text: &str) -> Result<[u8; N], KeystoreError> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes)
        .map_err(|_| KeystoreError::Form(format!("{what} is not {N} bytes in hexadecimal")))?;
    Ok(bytes)
}

fn salt(params: &KdfParams) -> Result<Bytes, KeystoreError> {
    let salt = hex::decode(&params.salt)
        .map_err(|_| KeystoreError::Form("salt is not hexadecimal".to_owned()))?;
    match salt.len() {
        1..=SALT_MAX => Ok(salt.into()),
        _ => Err(KeystoreError::Outside("the salt's length")),
    }
}

fn kdf_of(kind: &str, params: &KdfParams) -> Result<Kdf, KeystoreError> {
    if usize::try_from(params.dklen) != Ok(KEY_BYTES) {
        return Err(KeystoreError::Outside("dklen"));
    }
    match (kind, params) {
        ("scrypt", KdfParams { n: Some(n), r: Some(r), p: Some(p), .. }) => {
            // Memory is 128 · n · r bytes, gone through p times (RFC 7914, 2).
            let memory = n.checked_mul(u64::from(*r)).and_then(|blocks| blocks.checked_mul(128));
            let fits =
                *n > 1 && n.is_power_of_two() && memory.is_some_and(|memory| memory <= MEMORY_MAX);
            if !fits || *p > PASSES_MAX {
                return Err(KeystoreError::Outside("the cost of scrypt"));
            }
            let log_n = u8::try_from(n.trailing_zeros()).unwrap_or(u8::MAX);
            let params = scrypt::Params::new(log_n, *r, *p);
            Ok(Kdf::Scrypt(params.map_err(|_| KeystoreError::Outside("the cost of scrypt"))?))
        }
        ("pbkdf2", KdfParams { c: Some(c), prf: Some(prf), .. }) if prf == "hmac-sha256" => {
            let rounds = NonZeroU32::new(*c).filter(|rounds| rounds.get() <= ROUNDS_MAX);
            rounds.map(Kdf::Pbkdf2).ok_or(KeystoreError::Outside("the rounds of PBKDF2"))
        }
        ("scrypt" | "pbkdf2", _) => {
            Err(KeystoreError::Form(format!("parameters of {kind} are missing")))
        }
        _ => Err(KeystoreError::Kind { what: "the key derivation", found: kind.to_owned() }),
    }
}

fn derive(
    kdf: &Kdf,
    salt: &[u8],
    password: &[u8],
) -> Result<Zeroizing<[u8; KEY_BYTES]>, KeystoreError> {
    let mut derived = Zeroizing::new([0; KEY_BYTES]);
    match kdf {
        Kdf::Scrypt(params) => scrypt::scrypt(password, salt, params, derived.as_mut_slice())
            .map_err(|_| KeystoreError::Outside("dklen"))?,
        Kdf::Pbkdf2(rounds) => {
            let algorithm = ring::pbkdf2::PBKDF2_HMAC_SHA256;
            ring::pbkdf2::derive(algorithm, *rounds, salt, password, derived.as_mut_slice());
        }
    }
    Ok(derived)
}

/// The two halves of what was derived: the first encrypts.
fn halves(derived: &[u8; KEY_BYTES]) -> ([u8; IV_BYTES], [u8; IV_BYTES]) {
    let (mut first, mut second) = ([0; IV_BYTES], [0; IV_BYTES]);
    for (index, byte) in derived.iter().enumerate() {
        let half = if index < IV_BYTES { &mut first } else { &mut second };
        if let Some(place) = half.get_mut(index % IV_BYTES) {
            *place = *byte;
        }
    }
    (first, second)
}

fn authenticate(derived: &[u8; KEY_BYTES], ciphertext: &[u8; KEY_BYTES]) -> B256 {
    let (_, second) = halves(derived);
    keccak256([&second[..], &ciphertext[..]].concat())
}

fn crypt(derived: &[u8; KEY_BYTES], iv: &[u8; IV_BYTES], bytes: &mut [u8; KEY_BYTES]) {
    let (first, _) = halves(derived);
    ctr::Ctr128BE::<Aes128>::new(&first.into(), &(*iv).into()).apply_keystream(bytes);
}

/// Random bytes as a UUID of version 4 (RFC 9562, 5.4).
fn uuid(mut bytes: [u8; 16]) -> String {
    let [.., a, _, b, _, _, _, _, _, _, _] = &mut bytes;
    *a = *a & 0x0f | 0x40;
    *b = *b & 0x3f | 0x80;
    let digits = hex::encode(bytes);
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default().to_owned();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

#[cfg(test)]
mod tests;
