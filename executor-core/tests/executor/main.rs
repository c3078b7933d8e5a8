//! An executor with the process driver and a run service in memory.

mod archives;
mod drivers;
mod house;
mod limits;

mod restart;
mod scripted;
mod steps;
mod stop;
mod toolbox;
