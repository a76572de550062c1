/** An agent's stand-in: `STATE_DIR TOOLS_DIR DEVICE` (JSON for `deviceOf` and `peerOf`), applies it with no help from outside, then stays. */
import { chooseTunnelDriver } from '#src/wireguard/detect';
import { deviceOf, peerOf } from '../kit/devices.ts';

const [stateDir = '', toolsDir = '', json = ''] = process.argv.slice(2);
const { peer, peerSketch, ...sketch } = JSON.parse(json);
const driver = await chooseTunnelDriver({ preference: 'userspace', stateDir, toolsDir });
console.log((await driver.apply(deviceOf({ ...sketch, peers: [peerOf(peer, peerSketch)] })))[0]);
setInterval(() => undefined, 60_000);
