//! A host for WebAssembly players whose plain memory survives traps, deploys and dead machines.
