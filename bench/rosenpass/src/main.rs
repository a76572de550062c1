//! The library of the Rust program, driven as `bench/rosenpass.ts` drives ours: one pair of keys, so many full handshakes in memory,
//! both ends in this process. Prints microseconds of processor time (getrusage) as JSON.
use anyhow::{ensure, Result};
use rosenpass::pqkem::{StaticKEM, KEM};
use rosenpass::protocol::{CryptoServer, MsgBuf, PeerPtr, SPk, SSk, SymKey};

fn key_pair() -> Result<(SSk, SPk)> {
    let (mut secret, mut public) = (SSk::zero(), SPk::zero());
    StaticKEM::keygen(secret.secret_mut(), public.secret_mut())?;
    Ok((secret, public))
}

/// Four datagrams; whose turn it is changes with each.
fn handshake(ends: &mut [CryptoServer; 2]) -> Result<()> {
    let (mut given, mut answer) = (MsgBuf::zero(), MsgBuf::zero());
    let mut length = Some(ends[0].initiate_handshake(PeerPtr(0), given.as_mut_slice())?);
    let mut to = 1;
    while let Some(n) = length {
        length = ends[to].handle_msg(&given[..n], &mut answer[..])?.resp;
        std::mem::swap(&mut given, &mut answer);
        to = 1 - to;
    }
    let [a, b] = ends;
    ensure!(a.osk(PeerPtr(0))?.secret() == b.osk(PeerPtr(0))?.secret(), "the two ends disagree");
    Ok(())
}

fn processor_micros() -> i64 {
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) };
    let micros = |time: libc::timeval| time.tv_sec as i64 * 1_000_000 + time.tv_usec as i64;
    micros(usage.ru_utime) + micros(usage.ru_stime)
}

fn run(count: u32) -> Result<()> {
    rosenpass::sodium::sodium_init()?;
    let ((a_secret, a_public), (b_secret, b_public)) = (key_pair()?, key_pair()?);
    let psk = SymKey::random();
    let mut a = CryptoServer::new(a_secret, a_public.clone());
    let mut b = CryptoServer::new(b_secret, b_public.clone());
    a.add_peer(Some(psk.clone()), b_public)?;
    b.add_peer(Some(psk), a_public)?;
    let mut ends = [a, b];
    for _ in 0..5 {
        handshake(&mut ends)?;
    }
    let before = processor_micros();
    for _ in 0..count {
        handshake(&mut ends)?;
    }
    println!("{{\"handshakes\": {count}, \"micros\": {}}}", processor_micros() - before);
    Ok(())
}

/// Its keys lie on the stack, half a megabyte each, several times.
fn main() -> Result<()> {
    let count = std::env::args().nth(1).map_or(Ok(100), |text| text.parse())?;
    std::thread::Builder::new()
        .stack_size(64 << 20)
        .spawn(move || run(count))?
        .join()
        .expect("the thread of the handshakes ends")
}
