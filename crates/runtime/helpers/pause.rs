//! The pause program: holds a pod's namespaces and does nothing, not even allocate.
//!
//! Compiled statically by build.rs and embedded in the agent, so that no helper image is ever pulled. Docker ends
//! it with SIGKILL, for it is process 1 without signal handlers; with a shared pid namespace it does not reap.

fn main() {
    loop {
        std::thread::park();
    }
}
