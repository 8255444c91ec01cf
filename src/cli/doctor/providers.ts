import type { Config } from '../../config/config.ts';
import { checkCuda, explainProvider } from '../gpu/check-cuda.ts';
import type { Nvidia } from '../gpu/driver.ts';
import { type Finding, ok, problem, warning } from './finding.ts';

/**
 * Whether graphs can run on the configured execution providers, and on CUDA also when no provider
 * asks for it but its libraries or a card are there. A provider with another one after it is a
 * warning, because a worker then uses that one.
 */
export async function checkProviders(config: Config, nvidia: Nvidia): Promise<Finding[]> {
  const wanted = config.executionProviders;
  const findings: Finding[] = [];
  const cuda = await checkCuda(config, nvidia);
  if (!wanted.includes('cuda')) {
    const rest = cuda.state === 'ready' ? '. FINDERY_PROVIDERS=cuda uses it' : '';
    const result =
      cuda.state === 'absent'
        ? ok(`not in use (FINDERY_PROVIDERS=${wanted.join(',')})`)
        : warning(`${cuda.message}${rest}`);
    findings.push({ check: 'cuda', ...result });
  }
  for (const [position, provider] of wanted.entries()) {
    const failure =
      provider === 'cpu'
        ? null
        : provider === 'cuda'
          ? cuda.state === 'ready'
            ? null
            : cuda.message
          : await explainProvider(config, provider);
    const good = provider === 'cuda' ? cuda.message : 'ready';
    const isLast = position === wanted.length - 1;
    const result = failure === null ? ok(good) : isLast ? problem(failure) : warning(failure);
    findings.push({ check: provider, ...result });
  }
  return findings;
}
