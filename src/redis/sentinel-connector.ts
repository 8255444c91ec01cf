import { type SentinelConnectionOptions, SentinelConnector } from 'ioredis';

/**
 * ioredis' connector to a Redis behind Sentinels, without its race after a failover: the detector
 * of a lost connection hears of the new primary while the next connection is being made, closes it,
 * and the client ends for good. Here a detector ends with its connection. Copies of a client
 * (`duplicate`) inherit the connector with the options.
 */
export class FollowingSentinelConnector extends SentinelConnector {
  /** @param options of the client, which hold those of a connection to Sentinels */
  constructor(options: unknown) {
    super(options as SentinelConnectionOptions);
  }

  override connect(
    ...parameters: Parameters<SentinelConnector['connect']>
  ): ReturnType<SentinelConnector['connect']> {
    // biome-ignore lint/complexity/useLiteralKeys: the property is private, and has no accessor.
    this['failoverDetector']?.cleanup();
    return super.connect(...parameters);
  }
}
