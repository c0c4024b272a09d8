// The offline page's script and style, each as one text: scripts/build.mjs makes the module from page/.
export const script: string;
export const style: string;
