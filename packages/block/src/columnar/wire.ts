/** Which codecs there are beside the built-in ones. Importing this file is what makes them known. */
import { registerTextCodecs } from './text/register.ts';

registerTextCodecs();
