/**
 * Breaks ties by rendezvous hashing (Thaler and Ravishankar, "A Name-Based Mapping Scheme for Rendezvous", 1996): of
 * equal nodes a task takes the one with the highest hash of (task, node). So equals share the work evenly, whatever
 * their names and in whatever order they joined; taking the first by name packs it on one machine.
 * FNV-1a (Fowler, Noll, Vo) over the name, and the 32-bit finaliser of MurmurHash3 (A. Appleby) over both.
 */
export function nameHash(name: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < name.length; at++) hash = Math.imul(hash ^ name.charCodeAt(at), 0x01000193);
  return hash >>> 0;
}

export function rendezvous(key: number, name: number): number {
  let hash = name ^ Math.imul(key, 0x9e3779b1);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
