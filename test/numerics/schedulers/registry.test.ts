import { describe, expect, it } from 'vitest';
import { readConfig } from '../../../src/numerics/schedulers/config.ts';
import {
  findScheduler,
  findSchedulerByConfig,
  SCHEDULERS,
} from '../../../src/numerics/schedulers/registry.ts';

describe('findScheduler', () => {
  it.each([
    ['ddim', 'ddim'],
    ['DDIM', 'ddim'],
    ['DDIMScheduler', 'ddim'],
    ['PLMS', 'pndm'],
    ['PNDMScheduler', 'pndm'],
    ['Euler', 'euler'],
    ['EulerDiscreteScheduler', 'euler'],
    ['Euler Karras', 'euler-karras'],
    ['Euler a', 'euler-ancestral'],
    ['euler_ancestral', 'euler-ancestral'],
    ['EulerAncestralDiscreteScheduler', 'euler-ancestral'],
    ['dpmsolver++', 'dpmsolver++'],
    ['DPMSolverMultistepScheduler', 'dpmsolver++'],
    ['DPM++ 2M', 'dpmsolver++'],
    ['dpmpp_2m', 'dpmsolver++'],
    ['DPM++ 2M Karras', 'dpmsolver++-karras'],
    ['DPM++ 2M SDE', 'sde-dpmsolver++'],
    ['dpmpp_2m_sde', 'sde-dpmsolver++'],
    ['DPM++ 2M SDE Karras', 'sde-dpmsolver++-karras'],
    ['dpmsolver', 'dpmsolver'],
    ['UniPC', 'unipc'],
    ['uni_pc', 'unipc'],
    ['UniPCMultistepScheduler', 'unipc'],
    ['FlowMatchEulerDiscreteScheduler', 'flow-match-euler'],
    ['LCM', 'lcm'],
    ['tcd', 'tcd'],
    ['TCDScheduler', 'tcd'],
  ])('finds %s', (name, expected) => {
    expect(findScheduler(name).name).toBe(expected);
  });

  it('has no name for two schedulers', () => {
    const names = SCHEDULERS.map(({ name, classNames, aliases }) =>
      [name, ...classNames, ...aliases].map((known) => known.toLowerCase().replace(/[\s_-]/g, '')),
    );
    names.forEach((own, i) => {
      const others = names.filter((_, j) => j !== i).flat();
      expect(own.filter((known) => others.includes(known))).toEqual([]);
    });
  });

  it('lists the accepted names in the error for an unknown one', () => {
    expect(() => findScheduler('no-such-scheduler')).toThrow(
      /named "no-such-scheduler"; the accepted names are ddim, pndm, euler, .*dpmsolver\+\+, .*lcm, tcd/,
    );
  });
});

describe('findSchedulerByConfig', () => {
  it.each([
    [{ _class_name: 'DDIMScheduler' }, 'ddim'],
    [{ _class_name: 'PNDMScheduler', skip_prk_steps: true }, 'pndm'],
    [{ _class_name: 'EulerDiscreteScheduler', use_karras_sigmas: true }, 'euler'],
    [{ _class_name: 'DPMSolverMultistepScheduler', algorithm_type: 'dpmsolver++' }, 'dpmsolver++'],
    [{ _class_name: 'DPMSolverMultistepScheduler' }, 'dpmsolver++'],
    [{ _class_name: 'DPMSolverMultistepScheduler', algorithm_type: 'sde-dpmsolver++' }, 'sde-dpmsolver++'],
    [{ _class_name: 'DPMSolverMultistepScheduler', algorithm_type: 'dpmsolver' }, 'dpmsolver'],
    [{ _class_name: 'DPMSolverMultistepScheduler', algorithm_type: 'deis' }, 'dpmsolver++'],
    [{ _class_name: 'UniPCMultistepScheduler', use_flow_sigmas: true }, 'unipc'],
    [{ _class_name: 'FlowMatchEulerDiscreteScheduler', shift: 3 }, 'flow-match-euler'],
    [{ _class_name: 'LCMScheduler' }, 'lcm'],
    [{ _class_name: 'HeunDiscreteScheduler' }, undefined],
    [{ _class_name: 7 }, undefined],
    [{}, undefined],
  ])('maps %j to %s', (config, expected) => {
    expect(findSchedulerByConfig(config)?.name).toBe(expected);
  });
});

describe('a config of another formulation', () => {
  it.each([
    ['PNDMScheduler', 'flow-matching', /made for PNDMScheduler, .* needs a flow-matching model/],
    ['EDMEulerScheduler', 'flow-matching', /made for EDMEulerScheduler/],
    [
      'FlowMatchHeunDiscreteScheduler',
      'variance-preserving',
      /made for FlowMatchHeun.* variance-preserving model/,
    ],
  ] as const)('of %s is rejected by %s schedulers', (_class_name, formulation, message) => {
    expect(() => readConfig({ _class_name }, 'XScheduler', formulation)).toThrow(message);
  });

  it.each([{}, { _class_name: 'FlowMatchEulerDiscreteScheduler', shift: 3 }])(
    '%j is accepted as flow matching',
    (config) => {
      expect(() => readConfig(config, 'FlowMatchEulerDiscreteScheduler', 'flow-matching')).not.toThrow();
    },
  );
});
