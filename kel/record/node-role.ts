/** What a node is to the mesh; policy goes by it. */
export type NodeRole = 'server' | 'relay' | 'device';
