//! What the system promises, on real `host` processes. Each test is named after its promise.

mod agreement;
mod bench;
mod chaos;
mod damage;
mod dev;
mod drain;
mod exodus;
mod failover;
mod fencing;
mod full_disk;
mod guests;
mod house;
mod keys;
mod load;
mod membership;
mod modes;
mod neighbours;
mod recover;
mod refusals;
mod relay;
mod restart;
mod resting;
mod rotation;
mod settings;
mod simulation;
mod traps;
