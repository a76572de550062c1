/** Values of the tree as the Rust program computes them. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { cookieDomains, hashDomains } from '#src/rosenpass/hash-domains';

const expected = {
  V02: {
    mac: '8779e72b17ae66d7e46d93dc16c3b3c4491e54e1c79b0d8bebb8f2817f297e4b',
    peerId: '9ff6e4c014424fc123ef6477229c8b761edf65d0d7392cdf85cba84dc1f2cfa7',
    biscuit: '4876a3c65dd5d0724438b945c6e6d343e0ee02f573cc774a09045d655a85302a',
    start: 'abea67e8d16035b6495cda4786bff0d0dad936ded93c54c8b533652ad98a6946',
    mix: '41d20e68ac3b0eba4e4d8b3a1a01fe18404d9d30c61ae3ba6739053af8d6049f',
    handshakeEncryption: '1db8ec314788a2f1a70d5a8cae3dbbedb21f682426fdbab810c1adefe6a93375',
    responderEncryption: 'c9181f95721584d0018142cb8b6d2791333913b8df77302a2b794de7bee95c6b',
    output: '0cf2591fd46ab229d5df5a72688ce75801e8e6b8673755189cc36482a7cac9c0',
  },
  V03: {
    mac: '28015878ab6cacf337cd0d114885b7b22e137599b7ce5e36f410a3d2bea28739',
    peerId: '77ec28597e62b92c938219de5895f5e7af4ff9d00bf4438a9bbc82bb8ee3e659',
    biscuit: 'bc45c82895ebec27501a21b3ae574ed42be3353957bb30c1997815cb6f1ffd64',
    start: '88607c38efb6adecf321384eb8e52433bc0fd662dcbcd55d629126867d5f5f1d',
    mix: 'a5719ddaa848d422a0604a2fca17f31c2f9a799782789f88a9597b8719f0a39b',
    handshakeEncryption: '5062428e3baf12b59f01686e9a754b9bb0568e07709641d3bb03563342685f02',
    responderEncryption: 'cd853373157eb924236f77bc31a19ccc2c57085b93f2113f2c02671daeb3aa12',
    output: 'c1ebe9d9c7da6409587dad055da222ac4bffd30ec3c99963e54231f73cdf8ebe',
  },
};

describe('the labels of Rosenpass', () => {
  for (const version of ['V02', 'V03'] as const)
    it(`have the values of ${version}`, () => {
      const { output, version: _, hash: __, ...nodes } = hashDomains[version];
      const values = { ...nodes, output: output() };
      assert.deepEqual(
        Object.fromEntries(Object.entries(values).map(([name, node]) => [name, node.toHex()])),
        expected[version],
      );
    });

  it('have those of cookies in SHAKE256 alone', () => {
    assert.equal(
      cookieDomains.cookie.toHex(),
      'b47a6224b8808aca5676bd99eebb677d6fc6c5e98961341f37e6008d5ec38ce6',
    );
    assert.equal(
      cookieDomains.key.toHex(),
      '9e17d8520f2f9c4a32b2342251507b0aabb38bc2c128163e8079537eaeecb36b',
    );
  });

  it('separate what a key is for: organisation and labels one by one', () => {
    const { output } = hashDomains.V02;
    const values = [
      output(),
      output({ organization: 'rosenpass.eu', labels: ['wireguard psk', ''] }),
      output({ organization: 'example.org', labels: ['a', 'b'] }),
      output({ organization: 'example.org', labels: ['ab'] }),
    ];
    assert.equal(new Set(values.map((value) => value.toHex())).size, values.length);
  });
});
