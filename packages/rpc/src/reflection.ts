/**
 * Server reflection over the generated descriptors: grpcurl and its like need no .proto files. The descriptors are handed over as
 * they were compiled: @grpc/proto-loader would merge the files of a package into one and lose what they import, which no client
 * can link.
 */
import { type DescFile, type DescService, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { ReflectionService } from '@grpc/reflection';

type PackageDefinition = ConstructorParameters<typeof ReflectionService>[0];

export function reflectionOf(services: readonly DescService[]): ReflectionService {
  const files = new Map<string, DescFile>();
  const add = (file: DescFile) => {
    for (const dependency of file.dependencies) add(dependency);
    files.set(file.proto.name, file);
  };
  for (const service of services) add(service.file);
  // Of each entry the service reads nothing but the files (reflection-v1.ts, constructor).
  const definition: PackageDefinition = {};
  for (const [name, file] of files) {
    definition[name] = {
      format: 'Protocol Buffer 3 EnumDescriptorProto',
      type: {},
      fileDescriptorProtos: [Buffer.from(toBinary(FileDescriptorProtoSchema, file.proto))],
    };
  }
  return new ReflectionService(definition);
}
