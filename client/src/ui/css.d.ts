// Style sheets as text, as the bundler imports them.

declare module "*.css?inline" {
  const css: string;
  export default css;
}
