//! Messages on a stream.

use std::{error::Error, fmt, io, marker::PhantomData};

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::{StreamProtocol, request_response};

/// Bytes that are made room for before they have come. A peer that names a length and sends nothing costs no more than this.
const STEP_BYTES: usize = 64 << 10;

/// Something that travels.
pub trait Message: Sized + Send + 'static {
    /// Why bytes are no message. Whoever sent them is to blame.
    type Error: Error + Send + Sync + 'static;

    /// The message's bytes.
    fn encode(&self) -> Vec<u8>;

    /// The inverse of [`Message::encode`]. The bytes are a stranger's.
    ///
    /// # Errors
    /// Bytes that are no message.
    fn decode(bytes: &[u8]) -> Result<Self, Self::Error>;
}

/// A protocol: one question, one answer.
pub trait Protocol: Send + 'static {
    /// What is asked.
    type Question: Message;
    /// What is answered.
    type Answer: Message;
    /// The name under which both sides agree. Another version of the messages is another name.
    const NAME: &'static str;
    /// Bytes of the longest question.
    const QUESTION_BYTES_MAX: usize;
    /// Bytes of the longest answer.
    const ANSWER_BYTES_MAX: usize;
}

/// Each message is alone on its stream: its length, four bytes, and its bytes.
pub struct Codec<P>(PhantomData<fn() -> P>);

impl<P: Protocol> Codec<P> {
    /// The protocol's name as libp2p takes it.
    pub fn protocol() -> StreamProtocol {
        StreamProtocol::new(P::NAME)
    }
}

impl<P> Clone for Codec<P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Codec<P> {}

impl<P> Default for Codec<P> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<P> fmt::Debug for Codec<P> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Codec")
    }
}

impl<P: Protocol> request_response::Codec for Codec<P> {
    type Protocol = StreamProtocol;
    type Request = P::Question;
    type Response = P::Answer;

    async fn read_request<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<P::Question> {
        read(io, P::QUESTION_BYTES_MAX).await
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<P::Answer> {
        read(io, P::ANSWER_BYTES_MAX).await
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        question: P::Question,
    ) -> io::Result<()> {
        write(io, question.encode(), P::QUESTION_BYTES_MAX).await
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        answer: P::Answer,
    ) -> io::Result<()> {
        write(io, answer.encode(), P::ANSWER_BYTES_MAX).await
    }
}

fn too_long(kind: io::ErrorKind, got: usize, most: usize) -> io::Error {
    io::Error::new(kind, format!("a message of {got} bytes, where {most} are possible"))
}

async fn read<M: Message>(io: &mut (impl AsyncRead + Unpin), most: usize) -> io::Result<M> {
    let mut length = [0; 4];
    io.read_exact(&mut length).await?;
    let length = u32::from_be_bytes(length) as usize;
    if length > most {
        return Err(too_long(io::ErrorKind::InvalidData, length, most));
    }
    let mut bytes = Vec::new();
    while bytes.len() < length {
        let from = bytes.len();
        bytes.resize(length.min(from + STEP_BYTES), 0);
        io.read_exact(&mut bytes[from..]).await?;
    }
    M::decode(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

async fn write(io: &mut (impl AsyncWrite + Unpin), bytes: Vec<u8>, most: usize) -> io::Result<()> {
    // Ours: the other side would hang up on it, and blame us.
    if bytes.len() > most {
        return Err(too_long(io::ErrorKind::InvalidInput, bytes.len(), most));
    }
    io.write_all(&(bytes.len() as u32).to_be_bytes()).await?;
    io.write_all(&bytes).await?;
    io.close().await
}

#[cfg(test)]
mod tests {
    use futures::io::Cursor;
    use proptest::prelude::*;
    use thiserror::Error;

    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    struct Even(Vec<u8>);

    #[derive(Debug, Error)]
    #[error("{0} bytes are odd")]
    struct Odd(usize);

    impl Message for Even {
        type Error = Odd;

        fn encode(&self) -> Vec<u8> {
            self.0.clone()
        }

        fn decode(bytes: &[u8]) -> Result<Self, Odd> {
            if bytes.len().is_multiple_of(2) { Ok(Self(bytes.to_vec())) } else { Err(Odd(bytes.len())) }
        }
    }

    const MOST: usize = 200_000;

    async fn sent(bytes: Vec<u8>) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, Even(bytes).encode(), MOST).await.expect("writes");
        out
    }

    #[tokio::test]
    async fn messages_travel_whole_and_bounded() {
        for length in [0, 2, STEP_BYTES, STEP_BYTES + 2, MOST] {
            let bytes: Vec<u8> = (0..length).map(|index| index as u8).collect();
            let out = sent(bytes.clone()).await;
            assert_eq!(read::<Even>(&mut Cursor::new(out), MOST).await.expect("reads"), Even(bytes));
        }
        let out = sent(vec![7; 40]).await;
        for length in 0..out.len() {
            let error = read::<Even>(&mut Cursor::new(out[..length].to_vec()), MOST).await.expect_err("cut");
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
        // Longer than may be, whether it says so or is made here; and nonsense.
        let long = (MOST as u32 + 1).to_be_bytes().to_vec();
        let error = read::<Even>(&mut Cursor::new(long), MOST).await.expect_err("too long");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let error = write(&mut Vec::new(), vec![0; MOST + 2], MOST).await.expect_err("too long");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let odd = [&3_u32.to_be_bytes()[..], &[1, 2, 3]].concat();
        let error = read::<Even>(&mut Cursor::new(odd), MOST).await.expect_err("odd");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            // A stranger's stream: whatever it is, reading ends.
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let _ = runtime.block_on(read::<Even>(&mut Cursor::new(bytes), MOST));
        }
    }
}
