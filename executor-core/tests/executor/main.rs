//! An executor with the process driver and a run service in memory.

mod archives;
mod house;
mod limits;
mod process;
mod restart;
mod steps;
mod stop;
mod toolbox;
