/** grpc-js service definitions made from the generated descriptors: method paths, and bytes to messages and back. Pure. */
import {
  create,
  type DescMessage,
  type DescMethod,
  type DescService,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import { assert } from '@drover/core';
import type * as grpc from '@grpc/grpc-js';

type Methods<S extends DescService> = S['method'];

/** Methods by their local name, each unary or with a stream of responses; nothing else is declared in proto/. */
export type UnaryNames<S extends DescService> = {
  [K in keyof Methods<S>]: Methods<S>[K]['methodKind'] extends 'unary' ? K : never;
}[keyof Methods<S>];
export type StreamNames<S extends DescService> = {
  [K in keyof Methods<S>]: Methods<S>[K]['methodKind'] extends 'server_streaming' ? K : never;
}[keyof Methods<S>];

export type Input<S extends DescService, K extends keyof Methods<S>> = Methods<S>[K]['input'];
export type Output<S extends DescService, K extends keyof Methods<S>> = Methods<S>[K]['output'];
export type Received<D extends DescMessage> = MessageShape<D>;
export type Sent<D extends DescMessage> = MessageInitShape<D>;

/** `/drover.v1.FailoverService/FailoverTenant` */
export function pathOf(service: DescService, method: DescMethod): string {
  return `/${service.typeName}/${method.name}`;
}

export function definitionOf(service: DescService): grpc.ServiceDefinition {
  return Object.fromEntries(
    service.methods.map((method) => {
      const { methodKind, input, output } = method;
      assert(methodKind === 'unary' || methodKind === 'server_streaming', 'no method reads a stream', {
        method: method.name,
      });
      return [
        method.localName,
        {
          path: pathOf(service, method),
          requestStream: false,
          responseStream: methodKind === 'server_streaming',
          requestSerialize: (value: unknown) => serialize(input, value),
          requestDeserialize: (bytes: Buffer) => fromBinary(input, bytes),
          responseSerialize: (value: unknown) => serialize(output, value),
          responseDeserialize: (bytes: Buffer) => fromBinary(output, bytes),
        },
      ];
    }),
  );
}

/** Callers hand in plain objects of the message's shape: the types of clients and handlers see to it. */
function serialize(schema: DescMessage, value: unknown): Buffer {
  return Buffer.from(toBinary(schema, create(schema, value as MessageInitShape<DescMessage>)));
}
