/** The commands of the kernel's driver, with a system that only notes them. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, it } from 'mocha';
import type { RunCommand } from '#src/wireguard/command';
import { createKernelDriver } from '#src/wireguard/kernel-driver';
import { formatBase64Key } from '#src/wireguard/values';
import { deviceOf, peerOf, privateKeyOf, publicKeyOf } from '../../../support/kit/devices.ts';

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');

interface Call {
  readonly command: string;
  /** What the program would read from its descriptors. */
  readonly keys: readonly string[];
}

/** Answers as a kernel with the module does while a device is made. */
function kernel(answers: Record<string, string> = {}): { run: RunCommand; calls: Call[] } {
  const calls: Call[] = [];
  let made = false;
  const run: RunCommand = async (file, args, input = {}) => {
    const command = [file, ...args].join(' ');
    const files = (input.descriptors ?? []).map((fd) => readFile(`/dev/fd/${fd}`, 'latin1'));
    calls.push({ command, keys: await Promise.all(files) });
    const failure = Object.entries(answers).find(([start]) => command.startsWith(start));
    if (failure) return { status: 1, stdout: '', stderr: failure[1] };
    const ok = (stdout: string) => ({ status: 0, stdout, stderr: '' });
    if (command.startsWith('ip link add')) made = true;
    if (command === 'ip -j link show type wireguard')
      return ok(made ? '[{"ifname":"km-test0"}]' : '[]');
    if (command.includes('show km-test0 dump'))
      return { ...ok(''), secretOutput: Buffer.from('(none)\t(none)\t0\toff\n') };
    if (!command.startsWith('ip -j')) return ok('');
    if (!made) return { status: 1, stdout: '', stderr: 'Device "km-test0" does not exist.' };
    return ok(command.includes('addr') ? '[{"flags":["NOARP"],"mtu":1420,"addr_info":[]}]' : '[]');
  };
  return { run, calls };
}

const desired = deviceOf({
  addresses: ['fd00::1/128'],
  peers: [
    peerOf('a', {
      endpoint: '192.0.2.1:5',
      allowedIps: ['10.0.0.1/32', 'fd00::2/128'],
      keepalive: 25,
    }),
    peerOf('b'),
  ],
});

describe('driver of the kernel module', () => {
  it('hands keys to wg as descriptors and never as arguments', async () => {
    const { run, calls } = kernel();
    const driver = createKernelDriver({ stateDir: '/nowhere', run });
    await driver.apply(desired);
    const sets = calls.filter(({ command }) => command.startsWith('wg set'));
    assert.deepEqual(
      sets.map(({ command }) => command),
      [
        'wg set km-test0 private-key /dev/fd/3 listen-port 51820',
        `wg set km-test0 peer ${formatBase64Key(publicKeyOf('a'))} preshared-key /dev/fd/3 endpoint 192.0.2.1:5` +
          ' persistent-keepalive 25 allowed-ips 10.0.0.1/32,fd00::2/128' +
          ` peer ${formatBase64Key(publicKeyOf('b'))} preshared-key /dev/fd/4 persistent-keepalive 0`,
      ],
    );
    const [a = peerOf('a'), b = peerOf('b')] = desired.peers;
    assert.deepEqual(
      sets.map(({ keys }) => keys),
      [
        [`${base64(privateKeyOf('device').expose())}\n`],
        [`${base64(a.presharedKey.expose())}\n`, `${base64(b.presharedKey.expose())}\n`],
      ],
    );
    const all = calls.map(({ command }) => command).join('\n');
    for (const { presharedKey } of desired.peers)
      assert.ok(!all.includes(base64(presharedKey.expose())));
  });

  it('splits many peers into calls that wg can take', async () => {
    const { run, calls } = kernel();
    const peers = Array.from({ length: 150 }, (_, i) => peerOf(`p${i}`));
    await createKernelDriver({ stateDir: '/nowhere', run }).apply({ ...desired, peers });
    const counts = calls.filter(({ keys }) => keys.length > 0).map(({ keys }) => keys.length);
    assert.deepEqual(counts, [1, 64, 64, 22]);
  });

  it('asks wg alone for the peers', async () => {
    const { run, calls } = kernel();
    const driver = createKernelDriver({ stateDir: '/nowhere', run });
    assert.deepEqual(await driver.peers(desired.name), new Map());
    assert.deepEqual(
      calls.map(({ command }) => command),
      ['wg show km-test0 dump'],
    );
  });

  it('tells a device that is not there from one that cannot be read', async () => {
    const peers = (stderr: string) => {
      const { run } = kernel({ 'wg show': `Unable to access interface: ${stderr}` });
      return createKernelDriver({ stateDir: '/nowhere', run }).peers(desired.name);
    };
    assert.equal(await peers('No such device'), undefined);
    assert.equal(await peers('Operation not supported'), undefined);
    assert.equal(await peers('Protocol not supported'), undefined);
    await assert.rejects(peers('Operation not permitted'), { code: 'WIREGUARD_NO_PRIVILEGE' });
    await assert.rejects(peers('Input/output error'), { code: 'WIREGUARD_COMMAND_FAILED' });
  });

  it('says what the kernel lacks or refuses', async () => {
    const failures: [string, string, string][] = [
      ['ip link add', 'Error: Unknown device type.', 'WIREGUARD_NO_KERNEL_MODULE'],
      ['ip link add', 'RTNETLINK answers: File exists', 'WIREGUARD_NAME_TAKEN'],
      ['ip link add', 'RTNETLINK answers: Operation not permitted', 'WIREGUARD_NO_PRIVILEGE'],
      ['ip link add', 'RTNETLINK answers: No buffer space available', 'WIREGUARD_COMMAND_FAILED'],
      ['wg set', 'Unable to modify interface: Address already in use', 'WIREGUARD_PORT_IN_USE'],
      ['ip -batch', 'RTNETLINK answers: Address already in use', 'WIREGUARD_PORT_IN_USE'],
      ['wg show', 'Unable to access interface: Protocol not supported', 'WIREGUARD_COMMAND_FAILED'],
    ];
    for (const [command, stderr, code] of failures) {
      const { run, calls } = kernel({ [command]: stderr });
      const driver = createKernelDriver({ stateDir: '/nowhere', run });
      await assert.rejects(driver.apply(desired), { code }, stderr);
      const wasMade = command !== 'ip link add';
      assert.equal(
        calls.some(({ command: call }) => call.startsWith('ip link del')),
        wasMade,
        stderr,
      );
    }
  });
});
