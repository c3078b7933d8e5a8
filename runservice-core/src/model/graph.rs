//! Which tasks come after which, and which of them depend on themselves?

use std::collections::{BTreeMap, BTreeSet};

use runyard_executor_core::contract::TaskName;

use super::Condition;

/// What each task depends on.
pub type Graph<'t> = BTreeMap<&'t TaskName, &'t BTreeMap<TaskName, BTreeSet<Condition>>>;

/// The longest path from a root to each task; what is on a cycle or behind one has none. Parents that do not exist count
/// for nothing.
pub(super) fn levels<'t>(graph: &Graph<'t>) -> BTreeMap<&'t TaskName, u32> {
    // Kahn's algorithm.
    let mut missing: BTreeMap<&TaskName, usize> = BTreeMap::new();
    let mut children: BTreeMap<&TaskName, Vec<&'t TaskName>> = BTreeMap::new();
    for (name, parents) in graph {
        missing.insert(name, parents.keys().filter(|parent| graph.contains_key(*parent)).count());
        for parent in parents.keys() {
            children.entry(parent).or_default().push(name);
        }
    }
    let mut levels = BTreeMap::new();
    let mut next: Vec<&TaskName> = graph.keys().copied().filter(|name| missing.get(name) == Some(&0)).collect();
    for level in 0.. {
        if next.is_empty() {
            break;
        }
        for name in std::mem::take(&mut next) {
            levels.insert(name, level);
            for child in children.get(name).into_iter().flatten() {
                let Some(missing) = missing.get_mut(child) else { continue };
                *missing -= 1;
                // The last of its parents to come is the one that is farthest from a root.
                if *missing == 0 {
                    next.push(child);
                }
            }
        }
    }
    levels
}

/// The tasks on cycles, in the order of their names; parents that do not exist count for nothing.
///
/// Takes time that grows with the tasks and dependencies, however they are tangled: a definition may be hostile.
pub fn on_cycles<'t>(graph: &Graph<'t>) -> Vec<&'t TaskName> {
    // Tarjan's algorithm, with a stack of its own instead of recursion: a chain may be long.
    let names: Vec<&TaskName> = graph.keys().copied().collect();
    let indexes: BTreeMap<&TaskName, usize> = names.iter().enumerate().map(|(index, name)| (*name, index)).collect();
    let parents: Vec<Vec<usize>> =
        graph.values().map(|parents| parents.keys().filter_map(|name| indexes.get(name).copied()).collect()).collect();
    let mut order: Vec<Option<usize>> = vec![None; names.len()];
    let mut low = vec![0; names.len()];
    let mut is_open = vec![false; names.len()];
    let (mut open, mut next, mut found) = (Vec::new(), 0, Vec::new());
    for root in 0..names.len() {
        // A task, and how many of its parents were looked at.
        let mut path = if order[root].is_none() { vec![(root, 0)] } else { Vec::new() };
        while let Some((task, looked)) = path.pop() {
            if looked == 0 && order[task].is_none() {
                (order[task], low[task], is_open[task]) = (Some(next), next, true);
                next += 1;
                open.push(task);
            }
            if let Some(parent) = parents[task].get(looked).copied() {
                path.push((task, looked + 1));
                match order[parent] {
                    None => path.push((parent, 0)),
                    Some(seen) if is_open[parent] => low[task] = low[task].min(seen),
                    Some(_) => {}
                }
                continue;
            }
            if let Some((child, _)) = path.last() {
                low[*child] = low[*child].min(low[task]);
            }
            if order[task] == Some(low[task]) {
                let begin = open.iter().rposition(|member| *member == task).unwrap_or(0);
                let component = open.split_off(begin);
                component.iter().for_each(|member| is_open[*member] = false);
                if component.len() > 1 || parents[task].contains(&task) {
                    found.extend(component);
                }
            }
        }
    }
    found.sort_unstable();
    found.into_iter().map(|index| names[index]).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cycles(edges: &[(usize, usize)], tasks: usize) -> Vec<String> {
        let name = |index: usize| TaskName::parse(format!("{index:05}")).expect("valid");
        let names: Vec<_> = (0..tasks).map(name).collect();
        let mut depends = vec![BTreeMap::new(); tasks];
        for (child, parent) in edges {
            depends[*child].insert(name(*parent), BTreeSet::new());
        }
        on_cycles(&names.iter().zip(&depends).collect()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn those_on_a_cycle_are_found_and_those_behind_one_are_not() {
        assert_eq!(cycles(&[(0, 1), (1, 2), (2, 3)], 4), [""; 0]);
        assert_eq!(cycles(&[(1, 1)], 2), ["00001"]);
        assert_eq!(cycles(&[(0, 1), (1, 2), (2, 1), (3, 0), (2, 4)], 5), ["00001", "00002"]);
        // A parent that does not exist.
        assert_eq!(cycles(&[(0, 7), (1, 0)], 2), [""; 0]);
    }

    #[test]
    fn a_long_chain_needs_no_deep_stack() {
        let edges: Vec<_> = (0..20_000).map(|index| (index, index + 1)).collect();
        assert_eq!(cycles(&edges, 20_001), [""; 0]);
        let closed: Vec<_> = edges.into_iter().chain([(20_000, 0)]).collect();
        assert_eq!(cycles(&closed, 20_001).len(), 20_001);
    }

    proptest! {
        #[test]
        fn a_task_is_on_a_cycle_exactly_if_it_can_reach_itself(edges in prop::collection::vec((0_usize..8, 0_usize..8), 0..20)) {
            let mut reach = [[false; 8]; 8];
            edges.iter().for_each(|(child, parent)| reach[*child][*parent] = true);
            for via in 0..8 {
                for from in 0..8 {
                    for to in 0..8 {
                        reach[from][to] |= reach[from][via] && reach[via][to];
                    }
                }
            }
            let expected: Vec<_> = (0..8).filter(|task| reach[*task][*task]).map(|task| format!("{task:05}")).collect();
            prop_assert_eq!(cycles(&edges, 8), expected);
        }
    }
}
