//! JSON-RPC for wallets: eth, net, web3 and joule, over HTTP and WebSocket.
